"""Check keys of configs against signatures, to report errors better than the parser."""

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from braindino.errors import BraindinoError
from braindino.files import refuse_bomb


def check_keys(given: Mapping[str, Any], known: Mapping[str, Any], source: str, prefix: str = "") -> None:
    """Check every key of `given`.

    Args:
        given: a (part of a) config; dotted keys of the command line already nested.
        known: key -> what is allowed there: another mapping of keys, a type, or None for anything.
        source: the file or `command line`, for the message.
        prefix: dotted keys that lead to `given`.

    Raises:
        BraindinoError: the first unknown key, with the nearest known one.
    """
    for key, value in given.items():
        if key not in known:
            raise BraindinoError(unknown_key(f"{prefix}{key}", str(key), list(known), source))
        inner = known[key]
        for item in value if isinstance(value, list) else ():
            if isinstance(item, Mapping) and "class_path" in item:
                _check_class(item, source, f"{prefix}{key}.")
        if not isinstance(value, Mapping):
            if isinstance(inner, Mapping) and not (isinstance(value, str) and Path(value).is_file()):
                raise BraindinoError(
                    f"{source}: {prefix}{key}: expected keys and values, found {str(value)[:60]!r}."
                )
            continue
        if isinstance(inner, Mapping):
            check_keys(value, inner, source, f"{prefix}{key}.")
        elif "class_path" in value or "init_args" in value:
            _check_class(value, source, f"{prefix}{key}.")
        elif (dataclass := _dataclass_of(inner)) is not None:
            check_keys(value, keys_of(dataclass), source, f"{prefix}{key}.")


def unknown_key(dotted: str, key: str, known: list[str], source: str) -> str:
    """Return the message for a key that does not exist.

    Args:
        dotted: the key with its parents.
        key: its last part.
        known: keys that exist at its place.
        source: the file or `command line`.
    """
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    stem = dotted.removesuffix(key)
    if near:
        return f"{source}: no key {dotted!r}. Did you mean {stem + near[0]!r}?"
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    listed = f"{', '.join(sorted(known)[:12])}{more}"
    return f"{source}: no key {dotted!r}. Keys there: {listed}."


def keys_of(target: type) -> dict[str, Any]:
    """Return parameter name -> type of a class's constructor."""
    hints = typing.get_type_hints(getattr(target, "__init__"))  # noqa: B009
    parameters = inspect.signature(target).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {name: hints.get(name) for name in named}


def keys_passed_on(target: type) -> dict[str, Any] | None:
    """Return parameter name -> type of a constructor and of those it passes `**options` to.

    Args:
        target: the class.

    Returns:
        None if they cannot be determined.
    """
    known: dict[str, Any] = {}
    for base in target.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base).parameters.values() if base is not object else ()
        known = {**(keys_of(base) if base is not object else {}), **known}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    else:
        return None
    if base is object:
        return None
    # Parameters that jsonargparse finds to be passed on to any function.
    names = ArgumentParser().add_class_arguments(target, "of", fail_untyped=False)
    return {**{name.removeprefix("of."): None for name in names}, **known}


def import_class(class_path: str, source: str, key: str) -> type:
    """Return the class at a dotted path.

    Args:
        class_path: `package.module.Class`.
        source: the file or `command line`, for the message.
        key: dotted key of the path, for the message.

    Raises:
        BraindinoError: there is no such class; the message names the key and the most similar class.
    """
    module_name, _, name = class_path.rpartition(".")
    if not module_name:
        raise BraindinoError(f"{source}: {key} {class_path!r} is not of the form package.module.Class.")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise BraindinoError(f"{source}: {key} {class_path!r}: {error}.") from None
    target = getattr(module, name, None)
    if not isinstance(target, type):
        classes = [n for n in dir(module) if isinstance(getattr(module, n), type)]
        near = difflib.get_close_matches(name, classes, n=1, cutoff=0.5)
        meant = f" Did you mean {module_name}.{near[0]}?" if near else ""
        raise BraindinoError(f"{source}: {key}: no class {name!r} in {module_name}.{meant}")
    return target


def _check_class(value: Mapping[str, Any], source: str, prefix: str) -> None:
    """Check `{class_path, init_args}`, or arguments beside `class_path` as on the command line."""
    extra = {k: v for k, v in value.items() if k not in ("class_path", "init_args", "dict_kwargs")}
    if "class_path" not in value:
        raise BraindinoError(f"{source}: {prefix.rstrip('.')} has init_args but no class_path.")
    if not isinstance(value["class_path"], str):
        raise BraindinoError(f"{source}: {prefix}class_path: expected text, found {value['class_path']!r}.")
    arguments = value.get("init_args")
    if not isinstance(arguments, Mapping | None):
        raise BraindinoError(f"{source}: {prefix}init_args: expected keys and values, found {arguments!r}.")
    target = import_class(value["class_path"], source, f"{prefix}class_path")
    known = keys_passed_on(target)
    if known is None:
        return  # the class accepts arbitrary keys
    check_keys(value.get("init_args") or {}, known, source, f"{prefix}init_args.")
    check_keys(extra, known, source, prefix)


def _dataclass_of(hint: Any) -> type | None:
    """Return the dataclass in a type hint such as `Views | None`, if any."""
    options = typing.get_args(hint) if isinstance(hint, UnionType) or typing.get_origin(hint) else (hint,)
    return next((o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)), None)


def nest(dotted: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return dotted keys as a nested config: `a.b = 1`, `a.c = 2` -> `{a: {b: 1, c: 2}}`."""
    result: dict[str, Any] = {}
    for key, value in dotted:
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            inner = place.get(parent)
            if not isinstance(inner, dict):
                inner = place[parent] = {}
            place = inner
        place[last] = value
    return result


def dotted_arguments(arguments: Sequence[str]) -> list[tuple[str, Any]]:
    """Return `--a.b 1 --c=2` as pairs of dotted key and YAML value.

    Args:
        arguments: words after the verb.

    Raises:
        BraindinoError: a value expands to too many values.
    """
    pairs: list[tuple[str, Any]] = []
    for position, argument in enumerate(arguments):
        if not argument.startswith("--"):
            continue
        key, equals, value = argument[2:].partition("=")
        if not equals:
            value = arguments[position + 1] if position + 1 < len(arguments) else ""
        if key == "config":
            continue
        refuse_bomb(value, f"--{key}")
        try:
            parsed = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            parsed = value  # plain text, which the parser checks
        pairs.append((key.removesuffix("+"), parsed))
    return pairs
