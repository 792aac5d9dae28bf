"""Files of weights as they come: what is no weights, entries and prefixes around a state dict."""

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
from braindino.training.checkpoint_names import FOLDER, METADATA, is_sharded, run_checkpoints

_log = logging.getLogger(__name__)

# Entries that hold averaged weights (exponential moving average), and those that hold weights as they are.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_model", "ema_state_dict", "ema")
_PLAIN = ("model", "model_state_dict", "state_dict", "module")
_ENTRIES = ("teacher", *_AVERAGED, *_PLAIN)
# What torch.compile, FSDP and activation checkpointing put into the names of parameters.
_INSERTED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_PATCHES = "patch_embed.proj.weight"
_MAGIC = (
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it; torch or safetensors weights are needed"),
    (b"\x93NUMPY", "a NumPy array; torch or safetensors weights are needed"),
)


def refuse_other_content(path: Path) -> None:
    """Raise BraindinoError for a file that holds something that often stands in the place of weights."""
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
    """Return whether the content of a file is safetensors, whatever its name: a length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32


def state_dict_of(content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint out of the entries they are wrapped in, by plain names.

    Averaged weights (`state_dict_ema`, `model_ema`, ...) are preferred to those beside them, and logged. The
    names lose what torch.compile, FSDP and data-parallel training add (`_orig_mod.`, `module.`).

    Args:
        content: of a file, as `read_file` returns it.
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
    """Return the weights of the one vision transformer in a state dict, without the prefix they stand under.

    Where several are inside, the averaged one is taken (`teacher.`, `model_ema.`, ...).

    Raises:
        BraindinoError: none, or several of which none or more than one is averaged.
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
            f"(found {some(list(weights))})."
        )
    return {k.removeprefix(stems[0]): v for k, v in weights.items() if k.startswith(stems[0])}


def some(names: Sequence[str], count: int = 3) -> str:
    """Return the first few of `names` as one phrase."""
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
            step = int(read_file(path / METADATA if is_sharded(path) else path).get("global_step", 0))
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
    """What torch met in the file, without its advice to read it unsafely."""
    met = str(error).partition("WeightsUnpickler error:")[2].strip()
    return met.partition("\n")[0].partition(". ")[0] or "torch finds no plain weights in it"


def read_file(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code that it may contain.

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
    """Load `weights` strictly; the error lists what is missing, unexpected or of another shape."""
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    shapes = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if own[name].shape != weights[name].shape
    ]
    if missing or unexpected or shapes:
        parts = [("missing", missing), ("unexpected", unexpected), ("shape", shapes)]
        told = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
            for what, names in parts
            if names
        )
        raise BraindinoError(f"{source}: the weights do not fit the architecture.\n{told}")
    model.load_state_dict(dict(weights))
