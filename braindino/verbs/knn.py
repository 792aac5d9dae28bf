"""Predict a label by the nearest scans in frozen features, and compare encoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError
from braindino.verbs.opening import (
    Device,
    as_paths,
    check_at_least_one,
    check_store,
    open_device,
    open_encoder,
)

if TYPE_CHECKING:
    import pandas as pd

    from braindino.datasets.generic.labels import ClassName
    from braindino.probing.knn import ScanFeatures


@dataclass(frozen=True)
class NeighbourResults:
    """Results of kNN, as they were written into a folder.

    Attributes:
        out: the folder.
        scans: the labelled scans that were used, with `case`, `label` and `split`.
        not_prepared: number of labelled scans that could not be prepared.
        predictions: encoder -> k -> rows of predictions.csv.
        results: a row per encoder, k and metric, with intervals; results.csv.
        tests: McNemar tests of every two encoders at every k; mcnemar.csv.
        leakage: encoder -> overlap with its pretraining; None if the encoder does not record it.
    """

    out: Path
    scans: "pd.DataFrame"
    not_prepared: int
    predictions: "dict[str, dict[int, pd.DataFrame]]"
    results: "pd.DataFrame"
    tests: "pd.DataFrame"
    leakage: dict[str, dict[str, Any] | None]


def knn(
    manifests: Sequence[Path | str] | Path | str,
    encoder: Sequence[str] | str,
    target: str,
    out: Path | str = "knn",
    *,
    classes: "Sequence[ClassName] | None" = None,
    k: Sequence[int] | None = None,
    test: float = 0.3,
    seed: int = 0,
    resamples: int = 1000,
    store: Sequence[Path | str] | Path | str = "store",
    strip_cmd: str | None = None,
    jobs: int = 1,
    batch_size: int = 128,
    device: Device = "auto",
    prepare: bool = False,
    progress: bool = True,
) -> NeighbourResults:
    """Predict a label by the nearest scans in the features of encoders, and write the results.

    Args:
        manifests: manifests whose scans are used together; one or several.
        encoder: encoders, in any form that `load_encoder` reads; one or several.
        target: column of the label.
        out: folder to write into.
        classes: classes to use, all others are excluded; by default all.
        k: numbers of neighbours; by default those of the paper.
        test: share of the people in the test, without a column `split`.
        seed: seed of that split.
        resamples: draws of people for the intervals; 0 for none.
        store: folder of prepared scans, one for all encoders or one for each.
        strip_cmd: skull-stripping command, as `hd-bet -i {in} -o {out}`.
        jobs: processes that prepare scans and resample people.
        batch_size: slices per forward of the encoder.
        device: device that the encoders run on.
        prepare: make a store that does not exist, also where others lie near by.
        progress: show on stderr how far the work is.

    Raises:
        BraindinoError: an argument cannot be used, an encoder or store cannot be opened, labels that cannot
            be used, or no scan of a part could be prepared.
    """
    import pandas as pd

    from braindino.analysis.neighbours import NEIGHBOURS
    from braindino.parallel import parallel_map
    from braindino.probing.knn import neighbour_predictions, neighbour_results, neighbour_tests

    ks = sorted(set(k or NEIGHBOURS))
    _check_options(ks, resamples, test)
    encoders = [encoder] if isinstance(encoder, str) else list(encoder)
    stores = _stores(store, len(encoders))
    for folder in dict.fromkeys(stores):
        check_store(folder, prepare, progress)
    scans = _labelled_scans(as_paths(manifests), target, test, seed, classes)
    features = _features(encoders, stores, scans, strip_cmd, jobs, batch_size, device, progress)
    prepared = pd.Series(True, index=scans.index)
    for part in features.values():
        prepared &= part.prepared
    used = scans[prepared].reset_index(drop=True)
    _check_parts(used)
    predictions = {
        name: neighbour_predictions(used, part.values[prepared.to_numpy()], ks, seed)
        for name, part in features.items()
    }
    mapper = partial(parallel_map, jobs=jobs, unit="table", show=progress)
    result = NeighbourResults(
        out=Path(out),
        scans=used,
        not_prepared=int((~prepared).sum()),
        predictions=predictions,
        results=neighbour_results(predictions, resamples, mapper),
        tests=neighbour_tests(predictions),
        leakage={name: part.seen for name, part in features.items()},
    )
    _write(result)
    return result


def _check_options(ks: Sequence[int], resamples: int, test: float) -> None:
    """Raise BraindinoError for a number out of range."""
    check_at_least_one(k=min(ks))
    if resamples < 0:
        raise BraindinoError(f"--resamples {resamples}: expected 0 or more.")
    if not 0 < test < 1:
        raise BraindinoError(f"--test {test}: expected a share between 0 and 1.")


def _labelled_scans(
    files: Sequence[Path],
    target: str,
    test: float,
    seed: int,
    classes: "Sequence[ClassName] | None",
) -> "pd.DataFrame":
    """Return the labelled scans of several manifests."""
    import pandas as pd

    from braindino.datasets.manifest import Manifest
    from braindino.probing.knn import labelled_scans

    tables = [Manifest.read(file).table for file in files]
    table = pd.concat(tables, ignore_index=True).drop_duplicates("path", ignore_index=True)
    return labelled_scans(table, target, test, seed, ", ".join(map(str, files)), classes)


def _features(
    encoders: Sequence[str],
    stores: Sequence[Path],
    scans: "pd.DataFrame",
    strip_cmd: str | None,
    jobs: int,
    batch_size: int,
    device: Device,
    progress: bool,
) -> "dict[str, ScanFeatures]":
    """Return the features of the scans by the name of the encoder."""
    from braindino.probing.knn import scan_features

    target = open_device(device)
    features = {}
    for name, spec, folder in zip(_names(encoders), encoders, stores, strict=True):
        network, store = open_encoder(spec, folder, True, strip_cmd, progress)
        features[name] = scan_features(network, store, scans, jobs, batch_size, target, progress)
    return features


def _check_parts(scans: "pd.DataFrame") -> None:
    """Raise BraindinoError if no scan of a part of the split could be prepared."""
    for split, purpose in (("train", "to search"), ("test", "to classify")):
        if not (scans["split"] == split).any():
            raise BraindinoError(
                f"none of the scans {purpose} could be prepared; see rejects.csv in the store."
            )


def _write(result: NeighbourResults) -> None:
    """Write predictions and leakage per encoder and k, results.csv and mcnemar.csv."""
    from braindino.analysis.predictions import format_predictions
    from braindino.analysis.runs import LEAKAGE
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write, write_json

    for name, tables in result.predictions.items():
        for k, table in tables.items():
            folder = result.out / f"{name}_k{k}"
            with atomic_write(folder / "predictions.csv") as file:
                file.write(format_predictions(table))
            write_json(folder / LEAKAGE, {"audit": {"pretraining": result.leakage[name]}})
    for file_name, table in (("results.csv", result.results), ("mcnemar.csv", result.tests)):
        if len(table):
            with atomic_write(result.out / file_name) as file:
                file.write(csv_text(table))


def _stores(store: Sequence[Path | str] | Path | str, count: int) -> list[Path]:
    """Return a store for each of `count` encoders."""
    stores = as_paths(store)
    if len(stores) not in (1, count):
        raise BraindinoError(f"--store: {len(stores)} folders for {count} encoders; give one, or one each.")
    return stores if len(stores) == count else stores * count


def _names(specs: Sequence[str]) -> list[str]:
    """Return short, distinct names of encoders."""
    from braindino.encoders.checkpoints import encoder_label

    names = [encoder_label(spec) for spec in specs]
    if len(set(names)) < len(names):
        names = ["-".join(Path(spec).parts[-2:]).replace(":", "-").replace("/", "") for spec in specs]
    if len(set(names)) < len(names):
        raise BraindinoError(f"--encoder: {specs[0]} is named twice; name different encoders.")
    return names
