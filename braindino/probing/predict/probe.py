"""A finished study as something to use: its trained probes, read again from the run folder."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
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

RECIPE = "probe.json"
PUBLIC = "braindino.probing"
OWN_CLASSES = f"{PUBLIC}."  # heads and poolings that a recipe may name without being trusted
_FORMAT = 1


class Part(TypedDict):
    """A head or a pooling."""

    class_path: str
    init_args: dict[str, Any]


class EncoderRecord(TypedDict):
    """The encoder that a probe stands on."""

    spec: str
    folder: str
    digest: str
    preprocessing: dict[str, Any]


class Recipe(TypedDict):
    """probe.json."""

    format: int
    task: Literal["classification", "regression", "survival", "segmentation"]
    target: list[str]
    classes: list[str]
    modalities: list[str]
    encoder: EncoderRecord
    strip_cmd: str | None
    head: Part
    pooling: Part | None
    standardise: bool
    unfreeze: Any
    folds: int | None


@dataclass(frozen=True)
class FinishedProbe:
    """The probes of one label fraction of a study, with the encoder they stand on.

    modules: cell -> module in evaluation mode; a cell per seed, in cross-validation per seed and fold. facts:
    what is in the run folder's `probe.json`.
    """

    run: Path
    fraction: float
    modules: dict[Cell, FrozenProbeModule]
    encoder: Encoder
    facts: dict[str, Any]

    @property
    def task(self) -> str:
        """What the head predicts: classification, regression, survival, ..."""
        return str(self.facts["task"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty unless the task is a classification."""
        return tuple(self.facts["classes"])

    @property
    def modalities(self) -> tuple[str, ...]:
        """Scans of a case, in the order of the module's input."""
        return tuple(self.facts["modalities"])

    @property
    def told(self) -> str:
        """How many probes answer together: `mean of 6 probes (2 seeds x 3 folds)`; nothing of one alone."""
        if len(self.modules) == 1:
            return ""
        seeds, folds = len({cell.seed for cell in self.modules}), self.facts.get("folds")
        of = f"{seeds} seed{'s' * (seeds > 1)}" + (f" x {folds} folds" if folds else "")
        return f"mean of {len(self.modules)} probes ({of})"


def keep_recipe(
    run_dir: Path, module: FrozenProbeModule, cases: ProbeCases, encoder: Encoder, strip_cmd: str | None
) -> None:
    """Write `probe.json`: all that `load_probe` needs besides the weights in the cells."""
    write_json(
        run_dir / RECIPE,
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
            "head": _recipe(module.head),
            "pooling": None if module.head.dense else _recipe(module.pooling),
            "standardise": module.standardise,
            "unfreeze": module.unfreeze,
            "folds": cases.folds,
        },
    )


def load_probe(
    run_dir: Path | str,
    seed: int | None = None,
    fraction: float | None = None,
    encoder: str | None = None,
    trust: Sequence[str] = (),
) -> FinishedProbe:
    """The trained probes of a run folder of `braindino probe`, ready to predict.

    Of a cross-validation these are the probes of all folds, which answer together. There every person of the
    study was trained on by some of them: their scores for new people are those of the study, for its own
    people they are too good.

    Args:
        run_dir: the run folder.
        seed: of one probe, or of its folds; by default those of all seeds of the fraction.
        fraction: of the labels; by default the largest there is.
        encoder: where the encoder is now, if it is not where it was; in any form `load_encoder` reads.
        trust: classes of head and pooling outside of braindino that `probe.json` may name. Naming a class
            imports its module, and a run folder may come from a stranger.

    Raises:
        BraindinoError: no run folder, no finished cell of that seed and fraction, one without its probe, no
            encoder, or another one than the probe was trained on; a class that `trust` does not list.
    """
    run = Path(run_dir)
    if not (run / RECIPE).is_file():
        raise BraindinoError(
            f"{run}: no finished probe there (no {RECIPE}).\n"
            "Name the folder that `braindino probe` printed as its run folder; one of an earlier version is "
            "completed by running its probe again in a new folder."
        )
    facts = read_json(run / RECIPE, dict[str, Any])
    if facts.get("format") != _FORMAT:
        raise BraindinoError(f"{run / RECIPE}: format {facts.get('format')}, expected {_FORMAT}.")
    check_shape(facts, Recipe, run / RECIPE)
    for part in ("head", "pooling"):
        if facts[part] is not None:
            _check_class(facts[part]["class_path"], run, trust)
    chosen = _choose(run, facts.get("folds"), seed, fraction)
    network = _load_encoder(run, facts["encoder"], encoder)
    modules = {cell: _restore(cell, facts, network, trust) for cell in chosen}
    return FinishedProbe(run, chosen[0].fraction, modules, network, facts)


def _choose(run: Path, folds: int | None, seed: int | None, fraction: float | None) -> list[Cell]:
    """The finished cells of a fraction, by seed and fold; of a seed all folds or none."""
    cells = Cell.finished(run / "cells", folds)
    if not cells:
        raise BraindinoError(f"{run}: none of its cells is finished; run the same `braindino probe` again.")
    wanted = cells[-1].fraction if fraction is None else fraction
    found = [cell for cell in cells if cell.fraction == wanted and seed in (None, cell.seed)]
    if not found:
        known = dict.fromkeys(f"seed {cell.seed} of fraction {cell.fraction:g}" for cell in cells)
        asked = f"fraction {wanted:g}" + ("" if seed is None else f" and seed {seed}")
        raise BraindinoError(f"{run}: no finished cell of {asked}; there are {', '.join(list(known)[:12])}.")
    return found


def _restore(cell: Cell, facts: dict[str, Any], encoder: Encoder, trust: Sequence[str]) -> FrozenProbeModule:
    file = cell.folder / WEIGHTS
    if not file.is_file():
        raise BraindinoError(
            f"{file}: not there, so the trained probe cannot be used.\n"
            f"Remove {cell.folder} and run the same `braindino probe` again: only this cell is trained."
        )
    module = FrozenProbeModule(
        facts["encoder"]["spec"],
        _build(facts["head"], Head, cell.folder.parent.parent, trust),
        _build(facts["pooling"], Pooling, cell.folder.parent.parent, trust) if facts["pooling"] else None,
        standardise=facts["standardise"],
        unfreeze=facts["unfreeze"],
    )
    try:
        with torch.random.fork_rng(devices=[]):
            module.restore(read_file(file), facts["classes"], encoder)
    except (RuntimeError, KeyError) as error:
        raise BraindinoError(
            f"{file}: does not fit the head and pooling in {RECIPE} ({str(error).splitlines()[0]})."
        ) from error
    return module


def _load_encoder(run: Path, known: dict[str, Any], given: str | None) -> Encoder:
    spec = given
    if spec is None:
        spec = known["spec"].removeprefix(HUB)  # who predicts has not asked to fetch anything
        if not Path(spec).exists() and (Path(known["folder"]) / spec).exists():
            spec = str(Path(known["folder"]) / spec)
    contract = Preprocessing.from_file(known["preprocessing"], run / RECIPE)
    try:
        encoder = load_encoder(spec, contract)
    except BraindinoError as error:
        if given is not None:
            raise
        raise BraindinoError(f"{error}\nIf the encoder has moved, say where: --encoder FOLDER.") from error
    if encoder.digest != known["digest"]:
        raise BraindinoError(
            f"{spec}: not the encoder that {run} was trained on (digest {encoder.digest[:12]}, expected "
            f"{known['digest'][:12]}).\n"
            "Its weights or its preprocessing differ; name the right one with --encoder."
        )
    return encoder


def _recipe(part: nn.Module) -> dict[str, Any]:
    """Class and arguments, from which `_build` makes an equal part."""
    arguments = describe(part)
    name, cls = arguments.pop("class"), type(part)
    public = getattr(import_module(PUBLIC), name, None) is cls
    path = f"{PUBLIC}.{name}" if public else f"{cls.__module__}.{cls.__qualname__}"
    return {"class_path": path, "init_args": arguments}


def _check_class(class_path: str, run: Path, trust: Sequence[str]) -> None:
    """Raise BraindinoError before a module is imported that only a file names."""
    if not class_path.startswith(OWN_CLASSES) and class_path not in trust:
        shown = class_path if class_path.isprintable() else ascii(class_path)
        raise BraindinoError(
            f"{run / RECIPE}: names a class that is not braindino's: {shown}\n"
            "Its module is imported, and so runs, only if you say so.\n"
            f"If you trust it: --trust-class {shlex.quote(shown)}"
        )


def _build(recipe: dict[str, Any], kind: type[Any], run: Path, trust: Sequence[str]) -> Any:
    _check_class(recipe["class_path"], run, trust)
    place, _, name = recipe["class_path"].rpartition(".")
    if place.startswith(OWN_CLASSES):  # earlier versions wrote the module too, and modules move
        place = PUBLIC
    try:
        found = getattr(import_module(place), name)
    except (ImportError, AttributeError):
        raise BraindinoError(
            f"{recipe['class_path']}: no such class; the package that the probe's "
            f"{kind.__name__.lower()} comes from is not installed here."
        ) from None
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise BraindinoError(f"{recipe['class_path']}: expected a {kind.__name__}.")
    try:
        return found(**recipe["init_args"])
    except (TypeError, ValueError) as error:
        raise BraindinoError(
            f"{run / RECIPE}: key '{kind.__name__.lower()}.init_args' does not fit {name} ({error}); it was "
            "damaged or edited."
        ) from error
