"""Estimate the rest of a bench from its run folders, stores and caches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braindino.cli.config.files import config_files
from braindino.cli.config.keys import dotted_arguments, nest
from braindino.cli.config.probe_settings import MACHINE, decided_by_protocol
from braindino.errors import BraindinoError
from braindino.files import read_json, read_yaml
from braindino.scans.store.paths import no_store
from braindino.scans.store.store import Store
from braindino.training.study_progress import (
    baseline_folder,
    finished_cells,
    seconds_per_cell,
    study_progress,
)
from braindino.verbs.bench import Study

# Features of scans below the folder of an encoder: level, first letters, key.
ENTRIES = "*/*/*.npy"


@dataclass
class Extraction:
    """Features of one encoder on one store.

    Attributes:
        scans: number of scans in the store; None if it does not exist yet.
        cached: number of scans with cached features; None before a study of the encoder has begun.
    """

    scans: int | None
    cached: int | None = None


@dataclass
class BaselineCells:
    """Cells of one baseline of all studies.

    Attributes:
        cells: number of cells.
        left: number of cells that are not finished.
        seconds: median seconds between finished cells; None if not known.
    """

    cells: int = 0
    left: int = 0
    seconds: float | None = None


@dataclass
class Estimate:
    """The rest of a bench.

    Attributes:
        cells: number of cells of all studies, without baselines.
        left: number of cells that are not finished.
        extractions: name of an encoder and its store -> its features.
        per_cell: median seconds between finished cells, and the number of these times.
        baselines: name of a baseline that is trained -> its cells.
    """

    cells: int
    left: int
    extractions: dict[tuple[str, str], Extraction] = field(default_factory=dict)
    per_cell: tuple[float, int] | None = None
    baselines: dict[str, BaselineCells] = field(default_factory=dict)

    def lines(self, jobs: int) -> list[str]:
        """Return the estimate as text, each number with its basis.

        Args:
            jobs: studies that run side by side.
        """
        lines = [f"{self.cells} cells, {self.cells - self.left} done, {self.left} left"]
        for (encoder, store), part in self.extractions.items():
            if part.scans is None:
                known = f"{store} does not exist yet and is made when the study begins"
            elif part.cached is None:
                known = f"{part.scans} scans in {store}; none is known to be extracted"
            else:
                known = f"of {part.cached} scans in the cache; {part.scans} scans in {store}"
            lines.append(f"features of {encoder}: {known}")
        lines += [
            f"baseline {name}: {part.cells} cells, {part.cells - part.left} done, {part.left} left"
            for name, part in self.baselines.items()
        ]
        if not self.left and not any(part.left for part in self.baselines.values()):
            return lines
        if self.per_cell is None:
            return [*lines, "time: not known before two cells of the bench are done"]
        seconds, gaps = self.per_cell
        basis = f"at {seconds:.1f} s per cell (median of {gaps} times between finished cells)"
        whole = self.left * seconds + sum(
            part.left * (part.seconds or seconds) for part in self.baselines.values()
        )
        shared = f", with {jobs} jobs at best {_time(whole / jobs)}" if jobs > 1 else ""
        lines.append(f"time: training about {_time(whole)} {basis}{shared}")
        lines.append("      not counted: extraction of features")
        return lines


def estimate_bench(studies: Sequence[Study], cells: int) -> Estimate:
    """Return the estimate of a bench from the settings, stores and caches of its studies.

    Nothing is computed or written.

    Args:
        studies: studies of the bench.
        cells: cells of each study.

    Raises:
        BraindinoError: a store does not exist and is not to be made; a setting that the protocol decides.
    """
    progress = [study_progress(study.name, study.folder, cells, study.baselines) for study in studies]
    left = sum(cells - min(len(finished_cells(study.folder)), cells) for study in studies)
    result = Estimate(cells * len(studies), left, per_cell=seconds_per_cell([s.folder for s in studies]))
    digests = {study.encoder: digest for study in studies if (digest := _digest(study.folder))}
    sizes: dict[Path, int] = {}
    _count_baselines(result, studies, cells)
    for study, known in zip(studies, progress, strict=True):
        if known.done == known.cells:
            continue
        try:
            settings = study_settings(study)
            _check_trainer(settings.get("trainer"))
            store = _store(settings)
            if store is not None and store.path not in sizes:
                sizes[store.path] = int(store.index()["key"].nunique())
        except BraindinoError as error:
            raise BraindinoError(f"{study.name}: {error}") from None
        extraction = Extraction(None if store is None else sizes[store.path])
        if store is not None and study.encoder in digests:
            extraction.cached = _cached(settings, store, digests[study.encoder])
        result.extractions[study.encoder, str(_data(settings).get("store", "store"))] = extraction
    return result


def _count_baselines(result: Estimate, studies: Sequence[Study], cells: int) -> None:
    """Count the cells of the baselines that are trained, and measure the time of one."""
    for study in studies:
        for name in _expected_baselines(study):
            part = result.baselines.setdefault(name, BaselineCells())
            done = min(len(finished_cells(baseline_folder(study.folder, name))), cells)
            part.cells += cells
            part.left += cells - done
    for name, part in result.baselines.items():
        known = seconds_per_cell([baseline_folder(study.folder, name) for study in studies])
        part.seconds = None if known is None else known[0]


def _expected_baselines(study: Study) -> list[str]:
    """Return the baselines of a study that are trained, as far as its settings and folder show them.

    The model of age, sex and site takes no time, and is not among them. The untrained encoder is among them
    before results show whether the encoder has one.
    """
    probe = study_settings(study).get("probe")
    if isinstance(probe, Mapping) and probe.get("baselines") is False:
        return []
    finished = study.folder / "results.json"
    results = read_json(finished) if finished.is_file() else {}
    trained = results.get("baselines") if isinstance(results, dict) else None
    names = list(trained) if isinstance(trained, dict) else ["untrained_encoder", *_decoder_control(study)]
    return [name for name in dict.fromkeys([*names, *study.baselines]) if name != "age_sex_site"]


def _decoder_control(study: Study) -> list[str]:
    """Return the control of a decoder that reads pixels, if the study has one."""
    model = study_settings(study).get("model")
    head = model.get("head") if isinstance(model, Mapping) else None
    is_detail = isinstance(head, Mapping) and head.get("decoder") == "detail"
    return ["no_tokens"] if is_detail else []


def study_settings(study: Study) -> dict[str, Any]:
    """Return the settings of a study as a tree: its config with the overrides."""
    tree: dict[str, Any] = {}
    for path in config_files(study.arguments):
        tree = _merged(tree, _plain(read_yaml(path)))
    return _merged(tree, _plain(nest(dotted_arguments(study.arguments))))


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree with the keys of `init_args` moved beside the `class_path`."""
    lifted: dict[str, Any] = {}
    for key, value in tree.items():
        inner = _plain(value) if isinstance(value, Mapping) else value
        if key == "init_args" and isinstance(inner, dict):
            lifted |= inner
        else:
            lifted[str(key)] = inner
    return lifted


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _data(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    data = settings.get("data")
    return data if isinstance(data, Mapping) else {}


def _check_trainer(trainer: Any) -> None:
    """Raise BraindinoError for settings of the trainer that the protocol decides."""
    for key, value in trainer.items() if isinstance(trainer, Mapping) else ():
        if key not in MACHINE and value is not None:
            raise BraindinoError(decided_by_protocol(key))


def _store(settings: Mapping[str, Any]) -> Store | None:
    """Open the store of a study; None if it is to be made."""
    data = _data(settings)
    path = Path(str(data.get("store", "store")))
    if (path / "contract.json").is_file():
        return Store.open(path)
    if data.get("prepare") is True:
        return None
    raise BraindinoError(no_store(path, "`data.prepare: true` in the plan lets the bench make it"))


def _digest(folder: Path) -> str:
    """Return the digest of the encoder of a study that has begun, or nothing."""
    file = folder / "study.json"
    known = read_json(file) if file.is_file() else {}
    return str(known.get("encoder", "")) if isinstance(known, dict) else ""


def _cached(settings: Mapping[str, Any], store: Store, digest: str) -> int | None:
    """Count the scans whose features are in the cache; None where the encoder runs in the loop."""
    probe = settings.get("probe")
    cache = probe.get("cache") if isinstance(probe, Mapping) else None
    if cache is False:
        return None
    root = Path(cache) if isinstance(cache, str) else store.path / "features"
    return len({entry.stem for entry in (root / digest[:32]).glob(ENTRIES)})


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
