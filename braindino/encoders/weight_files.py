"""Files of weights as they come: what is no weights, entries and prefixes around a state dict."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from braindino.errors import BraindinoError

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
