"""`braindino knn`: how well neighbours in frozen features share a label, and which encoder does it better."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError
from braindino.verbs.opening import Device

if TYPE_CHECKING:
    import numpy as np
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
    """Predict a label by the nearest scans in an encoder's features; test encoders against each other.

    As in the paper: a scan is the mean of its slices' CLS tokens, neighbours are nearest by cosine among
    other people's scans, k is 1, 3, 5, 10, 20 and 50. Writes results.csv (intervals from resampling people),
    mcnemar.csv (exact, two encoders or more) and `<encoder>_k<k>/predictions.csv`, which `braindino compare`
    reads. People whom an encoder has seen in pretraining are counted. The same command again goes on where it
    was interrupted.

    Args:
        manifests: tables that `braindino index` wrote; several are taken together.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name
            (`hub:NAME` fetches it); several by naming the option several times.
        target: column of the label. With a column `split`, `train` and `val` are searched and `test` judges.
        out: folder to write into.
        classes: classes to tell apart, as `[none,low,high]`; by default all there are. A word that also means
            a missing label (`none`, `NA`) is a class only if it is listed.
        k: numbers of neighbours, once or several times.
        test: share of the people who judge, where there is no column `split`.
        seed: which people those are.
        resamples: draws of people for the intervals; 0 for none.
        store: folder of prepared scans, one for all encoders or one for each; `store` if omitted.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. One that only the store names
            is not run.
        prepare: make a store that does not exist, also where others lie near by.
        jobs: processes that prepare scans, and resample people for the intervals.
        batch_size: slices that go through the encoder at once.
        device: where the encoders run.

    Returns:
        0, or 1 when scans could not be prepared: they are left out.
    """
    import pandas as pd

    from braindino.analysis.neighbours import NEIGHBOURS
    from braindino.analysis.predictions import format_predictions
    from braindino.analysis.report.leakage_notes import pretraining_notes
    from braindino.analysis.runs import LEAKAGE
    from braindino.csv_text import csv_text
    from braindino.datasets.manifest import Manifest
    from braindino.files import atomic_write, write_json
    from braindino.parallel import parallel_map
    from braindino.probing.knn import (
        labelled_scans,
        neighbour_predictions,
        neighbour_results,
        neighbour_tests,
    )
    from braindino.verbs.opening import check_store, open_device

    ks = sorted(set(k or NEIGHBOURS))
    if ks[0] < 1 or resamples < 0 or not 0 < test < 1:
        raise BraindinoError("--k: 1 or more; --resamples: 0 or more; --test: between 0 and 1.")
    stores = [Path(path) for path in store or ["store"]]
    if len(stores) not in (1, len(encoder)):
        raise BraindinoError(
            f"--store: {len(stores)} folders for {len(encoder)} encoders; give one, or one each."
        )
    for folder in stores:
        check_store(folder, prepare)
    stores = stores if len(stores) == len(encoder) else stores * len(encoder)
    tables = [Manifest.read(path).table for path in manifests]
    scans = pd.concat(tables, ignore_index=True).drop_duplicates("path", ignore_index=True)
    scans = labelled_scans(scans, target, test, seed, ", ".join(map(str, manifests)), classes)
    where = open_device(device)
    features, usable = {}, pd.Series(True, index=scans.index)
    leaks: dict[str, dict[str, Any] | None] = {}
    for name, spec, folder in zip(_names(encoder), encoder, stores, strict=True):
        features[name], there, leaks[name] = _features(
            spec, folder, strip_cmd, scans, jobs, batch_size, str(where)
        )
        usable &= there
    lost = int((~usable).sum())
    kept = scans[usable].reset_index(drop=True)
    for part, told in (("train", "to search"), ("test", "to judge")):
        if not (kept["split"] == part).any():
            raise BraindinoError(f"none of the scans {told} could be prepared; see rejects.csv in the store.")
    found = {
        name: neighbour_predictions(kept, values[usable.to_numpy()], ks, seed)
        for name, values in features.items()
    }
    for name, by_k in found.items():
        for number, table in by_k.items():
            with atomic_write(out / f"{name}_k{number}" / "predictions.csv") as file:
                file.write(format_predictions(table))
            write_json(out / f"{name}_k{number}" / LEAKAGE, {"audit": {"pretraining": leaks[name]}})
    results = neighbour_results(found, resamples, partial(parallel_map, jobs=jobs, unit="table"))
    tests = neighbour_tests(found)
    for file_name, table in (("results.csv", results), ("mcnemar.csv", tests)):
        if len(table):
            with atomic_write(out / file_name) as file:
                file.write(csv_text(table))
    print(f"{target}: {_size(kept, 'train')} searched, {_size(kept, 'test')} judge")
    print(_text(results))
    for row in tests.to_dict("records"):
        print(
            f"k {row['k']}: only {row['first']} right {row['only_first']}, only {row['second']} right "
            f"{row['only_second']}, McNemar p {row['p']:.3g}, Holm {row['p_holm']:.3g}"
        )
    for name, seen in leaks.items():
        for line in pretraining_notes(seen, name):
            print(line)
    if lost:
        print(f"{lost} scans could not be prepared; see rejects.csv in the store.")
    print(f"{out}: results.csv{', mcnemar.csv' if len(tests) else ''} and predictions.csv per encoder and k")
    return 1 if lost else 0


def _features(
    spec: str,
    folder: Path,
    strip_cmd: str | None,
    scans: "pd.DataFrame",
    jobs: int,
    batch_size: int,
    device: str,
) -> "tuple[np.ndarray, pd.Series[bool], dict[str, Any] | None]":
    """(N, D) mean CLS tokens, 0 where there are none; which scans have them; whom the encoder has seen."""
    import numpy as np
    import pandas as pd

    from braindino.datasets.checks.leakage import contents_of, pretraining_overlap
    from braindino.encoders.features import extract
    from braindino.scans.store.fill import fill
    from braindino.verbs.opening import open_encoder

    network, store = open_encoder(spec, folder, True, strip_cmd)
    fill(store, scans, jobs=jobs)
    store.refresh()
    keys = pd.Series([store.key_of(path) or "" for path in scans["path"]], index=scans.index, dtype=object)
    cached = extract(
        network, store, [key for key in keys if key], store.path / "features", batch_size=batch_size,
        device=device, progress=True,
    )  # fmt: skip
    values = np.zeros((len(scans), network.embed_dim), np.float32)
    for i, key in enumerate(keys):
        if key:
            values[i] = cached[key].float().mean(dim=0).numpy()
    cases = scans.assign(key_scan=keys)[keys != ""]
    contents = contents_of(cases, ["scan"], store)
    seen = None if network.seen is None else pretraining_overlap(cases, ["scan"], network.seen, contents)
    return values, keys != "", seen


def _size(scans: "pd.DataFrame", part: str) -> str:
    chosen = scans[scans["split"] == part]
    return f"{len(chosen)} scans of {chosen['group'].nunique()} people"


def _names(specs: list[str]) -> list[str]:
    """Short names of encoders, each once."""
    from braindino.encoders.checkpoints import encoder_label

    names = [encoder_label(spec) for spec in specs]
    if len(set(names)) < len(names):
        names = ["-".join(Path(spec).parts[-2:]).replace(":", "-").replace("/", "") for spec in specs]
    if len(set(names)) < len(names):
        raise BraindinoError(f"--encoder: {specs[0]} is named twice; name different encoders.")
    return names


def _text(results: "pd.DataFrame") -> str:
    import pandas as pd

    shown = results[results["metric"].isin(["accuracy", "balanced_accuracy"])].copy()
    shown["text"] = [
        f"{row['value']:.3f}" + ("" if pd.isna(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]")
        for row in shown.to_dict("records")
    ]
    return shown.pivot_table("text", ["encoder", "k"], "metric", aggfunc="first").to_string()
