"""Settings of a study as JSON, and their comparison with those of a run folder."""

import inspect
import re
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from torch import nn

from braindino.errors import BraindinoError
from braindino.files import read_json
from braindino.identity import id_of
from braindino.probing.decoders.registry import DECODERS

# Key of the id of the decoder in study.json.
_DECODER = "model.pooling.class"


def describe(part: nn.Module) -> dict[str, Any]:
    """Return the class and the arguments of a module, without `stored_defaults`.

    Args:
        part: a module that stores each argument of its constructor as an attribute of the same name.
    """
    omitted = getattr(part, "stored_defaults", {})
    described: dict[str, Any] = {"class": id_of(type(part))}
    for name, parameter in inspect.signature(type(part)).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.kind is not parameter.VAR_POSITIONAL:
            value = getattr(part, name)
            if name in omitted and value == omitted[name]:
                continue
            if isinstance(value, nn.Module):
                value = describe(value)
            described[name] = _fields(value) if is_dataclass(value) and not isinstance(value, type) else value
    return described


def _fields(options: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, without its `stored_defaults`."""
    omitted = getattr(options, "stored_defaults", {})
    return {
        name: value
        for name, value in asdict(options).items()
        if not (name in omitted and value == omitted[name])
    }


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raise BraindinoError if a file contains other settings than these.

    Args:
        path: `study.json` of a run folder; it need not exist.
        settings: the settings of the study that is to run in the folder.

    Raises:
        BraindinoError: they differ; the message names the first differences.
    """
    if not path.is_file():
        return
    before, now = _flat(read_json(path, dict[str, Any])), _flat(settings)
    changed = [
        f"{name}: {_short(before.get(name))} there, {_short(now.get(name))} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if changed:
        hint = _continuation(before.get(_DECODER), now.get(_DECODER))
        raise BraindinoError(
            f"{path.parent} contains the results of another study ({'; '.join(changed[:3])}).\n"
            f"{hint}Choose another run folder, or remove this one."
        )


def _continuation(before: Any, now: Any) -> str:
    """Return the sentence on how to continue a study with another decoder; "" if that is not the difference.

    Args:
        before: id of the decoder of the run folder; None without one.
        now: id of the decoder of the study that is to run.
    """
    name = next((name for name, decoder in DECODERS.items() if id_of(decoder) == before), None)
    if name is None or now is None or before == now:
        return ""
    return f"To continue it: --model.head.init_args.decoder {name}\n"


def _short(value: Any) -> Any:
    """Return the beginning of a digest, and any other value unchanged."""
    is_digest = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,}", value) is not None
    return value[:8] if is_digest else value


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by dotted name."""
    if not isinstance(value, dict):
        return {name: value}
    parts = [_flat(part, f"{name}.{key}" if name else key) for key, part in value.items()]
    return {key: part for each in parts for key, part in each.items()}
