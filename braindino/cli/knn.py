"""The verb `knn`: predict a label by nearest neighbours, and compare encoders."""

from pathlib import Path
from typing import TYPE_CHECKING

from braindino.verbs.opening import Device

if TYPE_CHECKING:
    import pandas as pd


def knn(
    *manifests: Path,
    encoder: list[str],
    target: str,
    out: Path = Path("knn"),
    classes: list[str | int | float | bool | None] | None = None,
    k: list[int] | None = None,
    test: float = 0.3,
    seed: int = 0,
    resamples: int = 1000,
    store: list[str] | None = None,
    strip_cmd: str | None = None,
    jobs: int = 1,
    batch_size: int = 128,
    device: Device = "auto",
    prepare: bool = False,
) -> int:
    """Predict a label by the nearest scans in an encoder's features, and compare encoders.

    As in the paper: a scan is the mean of its slices' CLS tokens, neighbours are nearest by cosine among
    other people's scans, k is 1, 3, 5, 10, 20 and 50. Writes results.csv (intervals from resampling people),
    mcnemar.csv (exact, two encoders or more) and `<encoder>_k<k>/predictions.csv`, which `braindino compare`
    reads. People that an encoder has seen in pretraining are counted. The same command again goes on where it
    was interrupted.

    Args:
        manifests: tables that `braindino index` wrote; several are taken together.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name
            (`hub:NAME` fetches it); several by naming the option several times.
        target: column of the label. With a column `split`, the scans of `test` are classified, and those of
            `train` and `val` are searched.
        out: folder to write into.
        classes: classes to use, as `[none,low,high]`; by default all there are. A word that also means a
            missing label (`none`, `NA`) is a class only if it is listed.
        k: numbers of neighbours, once or several times.
        test: share of the people whose scans are classified, without a column `split`.
        seed: seed of the choice of these people.
        resamples: draws of people for the intervals; 0 for none.
        store: folder of prepared scans, one for all encoders or one for each; `store` if omitted.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. One that only the store names
            is not run.
        jobs: processes that prepare scans, and resample people for the intervals.
        batch_size: slices that go through the encoder at once.
        device: device that the encoders run on.
        prepare: make a store that does not exist, also where others lie near by.

    Returns:
        0, or 1 when scans could not be prepared: they are excluded.
    """
    from braindino.analysis.leakage_notes import pretraining_notes
    from braindino.verbs.knn import knn as run

    result = run(
        manifests,
        encoder,
        target,
        out=out,
        classes=classes,
        k=k,
        test=test,
        seed=seed,
        resamples=resamples,
        store=store or "store",
        strip_cmd=strip_cmd,
        jobs=jobs,
        batch_size=batch_size,
        device=device,
        prepare=prepare,
    )
    scans = result.scans
    print(f"{target}: {_size(scans, 'train')} searched, {_size(scans, 'test')} classified")
    print(_format(result.results))
    for row in result.tests.to_dict("records"):
        print(
            f"k {row['k']}: only {row['first']} right {row['only_first']}, only {row['second']} right "
            f"{row['only_second']}, McNemar p {row['p']:.3g}, Holm {row['p_holm']:.3g}"
        )
    for name, seen in result.leakage.items():
        for line in pretraining_notes(seen, name):
            print(line)
    if result.not_prepared:
        print(f"{result.not_prepared} scans could not be prepared; see rejects.csv in the store.")
    written = "results.csv, mcnemar.csv" if len(result.tests) else "results.csv"
    print(f"{out}: {written} and predictions.csv per encoder and k")
    return 1 if result.not_prepared else 0


def _size(scans: "pd.DataFrame", part: str) -> str:
    chosen = scans[scans["split"] == part]
    return f"{len(chosen)} scans of {chosen['group'].nunique()} people"


def _format(results: "pd.DataFrame") -> str:
    """Return a table of accuracies with a row per encoder and k."""
    import pandas as pd

    shown = results[results["metric"].isin(["accuracy", "balanced_accuracy"])].copy()
    shown["text"] = [
        f"{row['value']:.3f}" + ("" if pd.isna(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]")
        for row in shown.to_dict("records")
    ]
    return shown.pivot_table("text", ["encoder", "k"], "metric", aggfunc="first").to_string()
