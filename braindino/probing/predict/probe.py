"""A finished probe: `probe.json`, and the trained probes of a run folder."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from torch import nn

from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.pretrained import HUB
from braindino.encoders.weight_files import read_file
from braindino.errors import BraindinoError
from braindino.files import check_shape, read_json, write_json
from braindino.probing.cell import WEIGHTS, Cell
from braindino.probing.data.cases import ProbeCases
from braindino.probing.heads.base import Head
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import Pooling
from braindino.probing.settings import describe
from braindino.scans.contract import Preprocessing

RECORD = "probe.json"
PUBLIC = "braindino.probing"
# Heads and poolings that a record may name without being trusted.
TRUSTED_PREFIX = f"{PUBLIC}."
_FORMAT = 1


class PartRecord(TypedDict):
    """A head or a pooling.

    Attributes:
        class_path: dotted path of the class.
        init_args: arguments of its constructor.
    """

    class_path: str
    init_args: dict[str, Any]


class EncoderRecord(TypedDict):
    """The encoder of a probe.

    Attributes:
        spec: the encoder, in a form that `load_encoder` reads.
        folder: folder that a relative path in `spec` starts from.
        digest: digest of the encoder.
        preprocessing: its input contract.
    """

    spec: str
    folder: str
    digest: str
    preprocessing: dict[str, Any]


class ProbeRecord(TypedDict):
    """The content of probe.json.

    Attributes:
        format: version of the format.
        task: task of the head.
        target: names of the targets.
        classes: names of the classes or regions.
        modalities: scans of a case, in the order of the input.
        encoder: the encoder.
        strip_cmd: skull-stripping command of the store; None without one.
        head: the head.
        pooling: the pooling; None for a segmentation.
        standardise: whether features are standardised.
        unfreeze: whether the encoder was trained.
        folds: number of folds; None without cross-validation.
    """

    format: int
    task: Literal["classification", "regression", "survival", "segmentation"]
    target: list[str]
    classes: list[str]
    modalities: list[str]
    encoder: EncoderRecord
    strip_cmd: str | None
    head: PartRecord
    pooling: PartRecord | None
    standardise: bool
    unfreeze: Any
    folds: int | None


@dataclass(frozen=True)
class FinishedProbe:
    """The trained probes of one label fraction of a study, with their encoder.

    Attributes:
        run: run folder of the study.
        fraction: label fraction.
        modules: cell -> probe in evaluation mode; a cell per seed, in cross-validation per seed and fold.
        encoder: the encoder.
        facts: content of `probe.json`; see `ProbeRecord`.
    """

    run: Path
    fraction: float
    modules: dict[Cell, FrozenProbeModule]
    encoder: Encoder
    facts: dict[str, Any]

    @property
    def task(self) -> str:
        """Return the task of the head: classification, regression, survival or segmentation."""
        return str(self.facts["task"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, or of the regions of a segmentation; empty for numbers."""
        return tuple(self.facts["classes"])

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the scans of a case, in the order of the module's input."""
        return tuple(self.facts["modalities"])

    @property
    def label(self) -> str:
        """Return the number of averaged probes: `mean of 6 probes (2 seeds x 3 folds)`; "" for one."""
        if len(self.modules) == 1:
            return ""
        seeds, folds = len({cell.seed for cell in self.modules}), self.facts.get("folds")
        parts = "1 seed" if seeds == 1 else f"{seeds} seeds"
        if folds:
            parts += f" x {folds} folds"
        return f"mean of {len(self.modules)} probes ({parts})"


def write_record(
    run_dir: Path, module: FrozenProbeModule, cases: ProbeCases, encoder: Encoder, strip_cmd: str | None
) -> None:
    """Write `probe.json`: all that `load_probe` needs besides the weights in the cells.

    Args:
        run_dir: run folder.
        module: the probe.
        cases: the cases of the study.
        encoder: the encoder.
        strip_cmd: skull-stripping command of the store; None without one.
    """
    write_json(
        run_dir / RECORD,
        {
            "format": _FORMAT,
            "task": module.head.task,
            "target": list(cases.target_names),
            "classes": list(cases.classes),
            "modalities": list(cases.modalities),
            "encoder": {
                "spec": module.encoder,
                "folder": str(Path.cwd()),
                "digest": encoder.digest,
                "preprocessing": encoder.preprocessing.to_dict(),
            },
            "strip_cmd": strip_cmd,
            "head": _part_record(module.head),
            "pooling": None if module.head.dense else _part_record(module.pooling),
            "standardise": module.standardise,
            "unfreeze": module.unfreeze,
            "folds": cases.folds,
        },
    )


def load_probe(
    run_dir: Path | str,
    seed: int | None = None,
    fraction: float | None = None,
    encoder: Encoder | Path | str | None = None,
    trust: Sequence[str] = (),
) -> FinishedProbe:
    """Return the trained probes of a run folder of `braindino probe`, ready to predict.

    For a cross-validation the probes of all folds are returned; their predictions are averaged. Every person
    of the study is a training person of some fold: for new people the scores are those of the study, for
    people of the study they are too good.

    Args:
        run_dir: run folder.
        seed: seed of one probe, or of its folds; by default all seeds of the fraction.
        fraction: label fraction; by default the largest.
        encoder: the encoder, if it is not where it was: itself, or in any form that `load_encoder` reads.
        trust: classes of head and pooling outside of braindino that `probe.json` may name. The module of such
            a class is imported, and a run folder may come from a stranger.

    Raises:
        BraindinoError: no run folder; no finished cell of that seed and fraction, or without its probe; no
            encoder, or another one than the probe was trained on; a class that `trust` does not list.
    """
    run = Path(run_dir)
    if not (run / RECORD).is_file():
        raise BraindinoError(
            f"{run}: no finished probe there (no {RECORD}).\n"
            "Name the folder that `braindino probe` printed as its run folder; one of an earlier version is "
            "completed by running its probe again in a new folder."
        )
    facts = read_json(run / RECORD, dict[str, Any])
    if facts.get("format") != _FORMAT:
        raise BraindinoError(f"{run / RECORD}: format {facts.get('format')}, expected {_FORMAT}.")
    check_shape(facts, ProbeRecord, run / RECORD)
    for part in ("head", "pooling"):
        if facts[part] is not None:
            _check_class(facts[part]["class_path"], run, trust)
    cells = _choose_cells(run, facts.get("folds"), seed, fraction)
    network = _load_encoder(run, facts["encoder"], encoder)
    modules = {cell: _restore(cell, facts, network, trust) for cell in cells}
    return FinishedProbe(run, cells[0].fraction, modules, network, facts)


def _choose_cells(run: Path, folds: int | None, seed: int | None, fraction: float | None) -> list[Cell]:
    """Return the finished cells of a fraction, by seed and fold; of a seed all folds or none."""
    cells = Cell.finished(run / "cells", folds)
    if not cells:
        raise BraindinoError(f"{run}: none of its cells is finished; run the same `braindino probe` again.")
    wanted = cells[-1].fraction if fraction is None else fraction
    chosen = [cell for cell in cells if cell.fraction == wanted and seed in (None, cell.seed)]
    if not chosen:
        known = dict.fromkeys(f"seed {cell.seed} of fraction {cell.fraction:g}" for cell in cells)
        missing = f"fraction {wanted:g}" + ("" if seed is None else f" and seed {seed}")
        raise BraindinoError(
            f"{run}: no finished cell of {missing}; there are {', '.join(list(known)[:12])}."
        )
    return chosen


def _restore(cell: Cell, facts: dict[str, Any], encoder: Encoder, trust: Sequence[str]) -> FrozenProbeModule:
    """Return the trained probe of a cell."""
    file = cell.folder / WEIGHTS
    if not file.is_file():
        raise BraindinoError(
            f"{file}: not there, so the trained probe cannot be used.\n"
            f"Remove {cell.folder} and run the same `braindino probe` again: only this cell is trained."
        )
    run = cell.folder.parent.parent
    module = FrozenProbeModule(
        facts["encoder"]["spec"],
        _build(facts["head"], Head, run, trust),
        _build(facts["pooling"], Pooling, run, trust) if facts["pooling"] else None,
        standardise=facts["standardise"],
        unfreeze=facts["unfreeze"],
    )
    try:
        with torch.random.fork_rng(devices=[]):
            module.restore(read_file(file), facts["classes"], encoder)
    except (RuntimeError, KeyError) as error:
        raise BraindinoError(
            f"{file}: does not fit the head and pooling in {RECORD} ({str(error).splitlines()[0]})."
        ) from error
    return module


def _load_encoder(run: Path, record: dict[str, Any], given: Encoder | Path | str | None) -> Encoder:
    """Return the encoder of a record, or the given one, after a check of its digest."""
    if isinstance(given, Encoder):
        encoder, name = given, type(given).__name__
    else:
        name = _spec(record) if given is None else str(given)
        contract = Preprocessing.from_file(record["preprocessing"], run / RECORD)
        try:
            encoder = load_encoder(name, contract)
        except BraindinoError as error:
            if given is not None:
                raise
            raise BraindinoError(
                f"{error}\nIf the encoder has moved, give its folder: --encoder FOLDER."
            ) from error
    if encoder.digest != record["digest"]:
        raise BraindinoError(
            f"{name}: not the encoder that {run} was trained on (digest {encoder.digest[:12]}, expected "
            f"{record['digest'][:12]}).\n"
            "Its weights or its preprocessing differ; name the right one with --encoder."
        )
    return encoder


def _spec(record: dict[str, Any]) -> str:
    """Return the recorded form of an encoder, as a path that exists if there is one."""
    # Without the prefix of the hub: a prediction must not fetch anything.
    spec = str(record["spec"]).removeprefix(HUB)
    moved = Path(record["folder"]) / spec
    return str(moved) if not Path(spec).exists() and moved.exists() else spec


def _part_record(part: nn.Module) -> dict[str, Any]:
    """Return class and arguments of a head or pooling, from which `_build` makes an equal one."""
    arguments = describe(part)
    name, cls = arguments.pop("class"), type(part)
    public = getattr(import_module(PUBLIC), name, None) is cls
    path = f"{PUBLIC}.{name}" if public else f"{cls.__module__}.{cls.__qualname__}"
    return {"class_path": path, "init_args": arguments}


def _check_class(class_path: str, run: Path, trust: Sequence[str]) -> None:
    """Raise BraindinoError before the module of an untrusted class is imported."""
    if not class_path.startswith(TRUSTED_PREFIX) and class_path not in trust:
        shown = class_path if class_path.isprintable() else ascii(class_path)
        raise BraindinoError(
            f"{run / RECORD}: names a class that is not braindino's: {shown}\n"
            "Its module is imported, and so runs, only with your consent.\n"
            f"If you trust it: --trust-class {shlex.quote(shown)}"
        )


def _build(record: dict[str, Any], kind: type[Any], run: Path, trust: Sequence[str]) -> Any:
    """Return the head or pooling of a record."""
    _check_class(record["class_path"], run, trust)
    module, _, name = record["class_path"].rpartition(".")
    # Earlier versions wrote the module of the class, and modules move.
    if module.startswith(TRUSTED_PREFIX):
        module = PUBLIC
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise BraindinoError(
            f"{record['class_path']}: no such class; the package that the probe's "
            f"{kind.__name__.lower()} comes from is not installed here."
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise BraindinoError(f"{record['class_path']}: expected a {kind.__name__}.")
    # A subclass of a user need not have all arguments of its base.
    taken = signature(cls).parameters
    stored = {name: value for name, value in getattr(cls, "stored_defaults", {}).items() if name in taken}
    try:
        return cls(**{**stored, **record["init_args"]})
    except (TypeError, ValueError) as error:
        raise BraindinoError(
            f"{run / RECORD}: key '{kind.__name__.lower()}.init_args' does not fit {name} ({error}); it was "
            "damaged or edited."
        ) from error
