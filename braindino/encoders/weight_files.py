"""Read files of weights: reject other content, unwrap entries and prefixes."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from braindino.errors import BraindinoError
from braindino.training.checkpoint_names import FOLDER, METADATA, is_sharded_checkpoint, run_checkpoints

_log = logging.getLogger(__name__)

# Entries with averaged weights (exponential moving average), and entries with weights as they are.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_model", "ema_state_dict", "ema")
_PLAIN = ("model", "model_state_dict", "state_dict", "module")
_ENTRIES = ("teacher", *_AVERAGED, *_PLAIN)
# Parts of names that torch.compile, FSDP and activation checkpointing insert.
_INSERTED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_PATCHES = "patch_embed.proj.weight"
_MAGIC = (
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it; torch or safetensors weights are needed"),
    (b"\x93NUMPY", "a NumPy array; torch or safetensors weights are needed"),
)


def refuse_other_content(path: Path) -> None:
    """Raise BraindinoError for content that users often have in the place of weights."""
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    reason = next((what for magic, what in _MAGIC if start.startswith(magic)), "")
    if not start:
        reason = "empty"
    elif text.startswith(b"version https://git-lfs"):
        reason = "a git-lfs pointer, not the weights; run `git lfs pull` in the repository it came from"
    elif text.startswith((b"/annex/objects", b"../.git/annex", b".git/annex")):
        reason = "a git-annex pointer, not the weights; run `git annex get` or `datalad get` on it"
    elif text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        reason = (
            "a web page, not the weights: the download was answered by a page (a login, a licence to accept "
            "or an error); download the file itself"
        )
    elif text.startswith(b"{"):
        reason = "JSON text, not the weights; give the file of weights that it lies beside"
    if reason:
        raise BraindinoError(f"{path}: is {reason}.")


def is_safetensors(path: Path) -> bool:
    """Return True if the content of a file is safetensors: a length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32


def state_dict_of(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by plain names, without the entries around them.

    Averaged weights (`state_dict_ema`, `model_ema`, ...) are preferred to those beside them, and logged. The
    names lose what torch.compile, FSDP and data-parallel training add (`_orig_mod.`, `module.`).

    Args:
        content: content of a file, as `read_file` returns it.
        source: the file, for the log.
    """
    entries: list[str] = []
    part: Mapping[str, Any] = content
    while (entry := next((name for name in _ENTRIES if _holds_tensors(part.get(name))), None)) is not None:
        passed_over = [name for name in _PLAIN if name != entry and _holds_tensors(part.get(name))]
        entries.append(entry)
        part = part[entry]
        if entry in _AVERAGED and passed_over:
            _log.warning(
                "%s: took the averaged weights (%s) and not %s", source, ".".join(entries), passed_over[0]
            )
    return {_plain(str(name)): value for name, value in part.items() if isinstance(value, Tensor)}


def vit_weights(weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the weights of the vision transformer in a state dict, without their prefix.

    If there are several, the averaged one is taken (`teacher.`, `model_ema.`, ...).

    Args:
        weights: state dict, as `state_dict_of` returns it.
        source: the file, for messages.

    Raises:
        BraindinoError: no vision transformer, or several of which none or more than one is averaged.
    """
    stems = [
        stem
        for name in weights
        if name.rpartition(".")[2] == "cls_token"
        and f"{(stem := name.removesuffix('cls_token'))}{_PATCHES}" in weights
    ]
    if len(stems) > 1:
        averaged = [stem for stem in stems if {"teacher", *_AVERAGED} & set(stem.split("."))]
        if len(averaged) != 1:
            raise BraindinoError(
                f"{source}: {len(stems)} vision transformers inside ({', '.join(map(repr, stems))}).\n"
                "Save only the one that is meant, under one prefix or none."
            )
        _log.warning("%s: took the weights under %r, of %s", source, averaged[0], ", ".join(stems))
        stems = averaged
    if not stems:
        raise BraindinoError(
            f"{source}: no vision transformer inside: no keys cls_token and {_PATCHES}, under any prefix "
            f"(found {first_names(list(weights))})."
        )
    return {k.removeprefix(stems[0]): v for k, v in weights.items() if k.startswith(stems[0])}


def first_names(names: Sequence[str], count: int = 3) -> str:
    """Return the first `count` of `names` as one phrase."""
    if not names:
        return "no tensors"
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _holds_tensors(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(part, Tensor) for part in value.values()) or any(
        _holds_tensors(value.get(name)) for name in _ENTRIES
    )


def _plain(name: str) -> str:
    parts = [part for part in name.split(".") if part not in _INSERTED]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


def last_checkpoint(run: Path) -> Path:
    """Return the checkpoint of the most steps in a run folder that can be read in full.

    Damaged ones, and files of other names, are passed over with a warning.

    Raises:
        BraindinoError: there is none, or none that can be read.
    """
    return newest_state(run)[0]


def newest_state(run: Path) -> tuple[Path, int]:
    """Return `last_checkpoint` and the number of optimiser steps that it was saved after.

    Raises:
        BraindinoError: there is none, or none that can be read.
    """
    named, strange = run_checkpoints(run)
    if strange:
        names = ", ".join(path.name for path in strange)
        _log.warning("passed over %s in %s: not named step<number>.ckpt", names, run / FOLDER)
    damaged: list[tuple[str, BraindinoError]] = []
    for path in named:
        try:
            file = path / METADATA if is_sharded_checkpoint(path) else path
            step = int(read_file(file).get("global_step", 0))
        except BraindinoError as error:
            damaged.append((path.name, error))
            continue
        if damaged:
            names = ", ".join(name for name, _ in damaged)
            _log.warning("passed over %s (damaged or refused), using %s", names, path.name)
        return path, step
    if damaged:
        names = ", ".join(name for name, _ in damaged[1:])
        raise BraindinoError(
            f"{damaged[0][1]}\n{f'Nor can {names} be read. ' if names else ''}"
            "Remove such checkpoints to start from the beginning, or name another run with --run.id."
        )
    renamed = f" It holds {strange[0].name}: name that file itself." if strange else ""
    raise BraindinoError(
        f"{run / FOLDER} holds no step<number>.ckpt: the run has saved nothing yet.{renamed}"
    )


def _obstacle(error: UnpicklingError) -> str:
    """Return the object that torch refuses, without torch's advice to read the file unsafely."""
    met = str(error).partition("WeightsUnpickler error:")[2].strip()
    return met.partition("\n")[0].partition(". ")[0] or "torch finds no plain weights in it"


def read_file(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code that it may contain.

    Args:
        path: path of the file.

    Returns:
        Its content; of a safetensors file the tensors by name.

    Raises:
        BraindinoError: truncated or damaged, no weights at all (a git-lfs pointer, a web page, ...), or it
            holds objects that would have to be unpickled.
    """
    if path.is_dir():
        raise BraindinoError(
            f"{path}: a folder, as a sharded run saves it, and no single file of weights.\n"
            f"`python -m lightning.pytorch.utilities.consolidate_checkpoint {path}` makes one of it."
        )
    refuse_other_content(path)
    try:
        if path.suffix == ".safetensors" or is_safetensors(path):
            return dict(safetensors.torch.load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BraindinoError(
            f"{path}: cannot be read as plain weights ({_obstacle(error)}).\n"
            "A file that needs unpickling could run any code and is refused: where it was made, save "
            "only its state dict, e.g. with safetensors."
        ) from error
    except (RuntimeError, EOFError, OSError, SafetensorError, ValueError, KeyError) as error:
        raise BraindinoError(
            f"{path}: damaged or not a checkpoint ({str(error).splitlines()[0]})."
        ) from error
    if not isinstance(content, dict):
        raise BraindinoError(f"{path}: expected a dictionary of tensors, found {type(content).__name__}.")
    return content


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load `weights` strictly.

    Args:
        model: network that takes the weights.
        weights: tensors by the model's names.
        source: the file, for messages.

    Raises:
        BraindinoError: weights are missing, unexpected or of another shape; the message lists some of them.
    """
    state = model.state_dict()
    differences = {
        "missing": sorted(state.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - state.keys()),
        "shape": [
            f"{name} {tuple(weights[name].shape)} for {tuple(state[name].shape)}"
            for name in sorted(state.keys() & weights.keys())
            if state[name].shape != weights[name].shape
        ],
    }
    if any(differences.values()):
        counts = [
            f"{len(names)} {kind}: {first_names(names, 4)}" for kind, names in differences.items() if names
        ]
        raise BraindinoError(f"{source}: the weights do not fit the architecture.\n{'; '.join(counts)}")
    model.load_state_dict(dict(weights))
