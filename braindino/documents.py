"""Read JSON, YAML and text within bounds, and check that the content has a declared shape.

Such files may come from untrusted sources, be edited by hand, or be truncated by a full disk. Every problem
is raised as a `DocumentError` that names the file and the key.
"""

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

import yaml

from braindino.errors import DocumentError

MAX_TEXT = 64 << 20  # bytes of a text file
MAX_JSON = 512 << 20  # bytes: results.json of a large segmentation has some 10 MB
MAX_YAML = 4 << 20  # bytes of a config or a plan
MAX_DEPTH = 60  # lists and mappings inside each other
MAX_NODES = 200_000  # of YAML, with aliases expanded


def load_text(path: Path | str, limit: int = MAX_TEXT) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises:
        DocumentError: not a regular file, longer than `limit` bytes, or not in UTF-8.
        OSError: it does not exist or may not be read.
    """
    with open(path, "rb", opener=_open_without_waiting) as file:  # Path.open has no opener
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError(f"{path}: not a regular file; expected a text file")
        if status.st_size > limit:
            raise DocumentError(
                f"{path}: {status.st_size / 1e6:.0f} MB, expected {limit / 1e6:.0f} MB at most"
            )
        content = file.read(limit + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: not a text file in UTF-8 (byte {error.start})") from None


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file without blocking on a FIFO that has no writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def load_json(path: Path | str, shape: Any = Any) -> Any:
    """Read a JSON file of a declared shape.

    Args:
        path: the file.
        shape: a type that `check_document` supports, usually a `TypedDict`.

    Returns:
        The content, of that shape.

    Raises:
        DocumentError: not JSON (NaN, infinities and repeated keys are rejected too), or of a different shape.
        OSError: it does not exist or may not be read.
    """
    try:
        content = json.loads(
            load_text(path, MAX_JSON),
            parse_float=_finite,
            parse_constant=_finite,
            object_pairs_hook=_once_each,
        )
    except RecursionError:
        raise DocumentError(f"{path}: not valid JSON (nested too deeply); it was damaged or edited") from None
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError(f"{path}: not valid JSON ({error}); it was damaged or edited") from None
    check_document(content, shape, str(path))
    return content


def load_yaml(path: Path | str) -> dict[str, Any]:
    """Read a YAML file of keys and values; an empty one has none.

    Raises:
        DocumentError: not YAML, a repeated key, nested too deeply, or too large with its aliases expanded.
        OSError: it does not exist or may not be read.
    """
    text = load_text(path, MAX_YAML)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        _examine(node, {}, str(path))
        content = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise DocumentError(f"{path}{line}: not valid YAML ({problem})") from None
    except RecursionError:
        raise DocumentError(f"{path}: not valid YAML (nested too deeply)") from None
    except DocumentError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        # PyYAML builds dates and numbers without checking them: `2024-13-45`, `!!bool maybe`.
        raise DocumentError(f"{path}: not valid YAML (a value that cannot be read: {error})") from None
    finally:
        if loader is not None:
            loader.dispose()
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DocumentError(f"{path}: expected keys and values, found {_kind_of(content)}")
    return content


def check_aliases(content: Any, source: str) -> None:
    """Raise DocumentError for YAML text whose aliases expand to too many values.

    Values on the command line and text in a config are parsed again as YAML. Text that is not YAML passes.

    Args:
        content: text, or lists and mappings that hold some.
        source: where it was given, for the message.
    """
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            check_aliases(value, f"{source}: {key}")
        return
    if not isinstance(content, str) or "&" not in content or "*" not in content:
        return
    loader: _Loader | None = None
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    finally:
        if loader is not None:
            loader.dispose()
    _examine(node, {}, source)


def check_document(value: Any, shape: Any, source: str, key: str = "") -> None:
    """Raise DocumentError unless `value`, read from a file, has a declared shape.

    Args:
        value: a value from JSON or YAML.
        shape: `Any`, `None`, bool, int, float (an int is one too), str, a `Literal`, a union, `list[...]`,
            `tuple[..., ...]` of fixed length (a list in JSON), `dict[str, ...]`, or a `TypedDict`, whose
            further keys may have any value.
        source: the file, for the message.
        key: dotted key of `value` in the file.
    """
    problem = _problem(value, shape, key)
    if problem is not None:
        raise DocumentError(f"{source}: {problem}; it was damaged or edited")


def _problem(value: Any, shape: Any, key: str) -> str | None:
    """Return a description of what is wrong with `value`, or None."""
    if shape is Any or shape is object:
        return None
    origin = get_origin(shape)
    if origin in (Union, UnionType):
        return _problem_of_union(value, shape, key)
    if origin is Literal:
        return None if _is_one_of(value, get_args(shape)) else _expected(key, shape, value)
    if origin in _CONTAINERS:
        return _CONTAINERS[origin](value, shape, key)
    if hasattr(shape, "__required_keys__"):
        return _problem_of_mapping(value, shape, key)
    return None if _is_a(value, shape) else _expected(key, shape, value)


def _problem_of_union(value: Any, shape: Any, key: str) -> str | None:
    problems = [_problem(value, option, key) for option in get_args(shape)]
    if None in problems:
        return None
    # Report the most specific problem: that of an option whose outer type matches.
    deeper = [each for each in problems if each is not None and not each.startswith(f"key {key!r}:")]
    return deeper[0] if deeper and key else _expected(key, shape, value)


def _problem_of_list(value: Any, shape: Any, key: str) -> str | None:
    if not isinstance(value, list):
        return _expected(key, shape, value)
    (inner,) = get_args(shape)
    return next(
        (p for i, each in enumerate(value) if (p := _problem(each, inner, f"{key}[{i}]")) is not None), None
    )


def _problem_of_tuple(value: Any, shape: Any, key: str) -> str | None:
    kinds = get_args(shape)
    if not isinstance(value, list) or len(value) != len(kinds):
        return _expected(key, shape, value)
    pairs = zip(value, kinds, strict=True)
    return next(
        (p for i, (v, kind) in enumerate(pairs) if (p := _problem(v, kind, f"{key}[{i}]")) is not None), None
    )


def _problem_of_dict(value: Any, shape: Any, key: str) -> str | None:
    if not isinstance(value, dict):
        return _expected(key, shape, value)
    inner = get_args(shape)[1]
    return next(
        (p for name, each in value.items() if (p := _problem(each, inner, _dotted(key, name))) is not None),
        None,
    )


_CONTAINERS: dict[Any, Callable[[Any, Any, str], str | None]] = {
    list: _problem_of_list,
    tuple: _problem_of_tuple,
    dict: _problem_of_dict,
}


def _problem_of_mapping(value: Any, shape: Any, key: str) -> str | None:
    """Return the problem of a mapping that a TypedDict describes, or None."""
    if not isinstance(value, dict):
        return _expected(key, dict, value)
    for name in sorted(shape.__required_keys__):
        if name not in value:
            return f"key {_dotted(key, name)!r} is missing"
    for name, inner in _keys_of(shape).items():
        if name in value and (problem := _problem(value[name], inner, _dotted(key, name))) is not None:
            return problem
    return None


@cache
def _keys_of(shape: Any) -> dict[str, Any]:
    hints = get_type_hints(shape)
    return {
        name: get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint
        for name, hint in hints.items()
    }


def _is_a(value: Any, shape: Any) -> bool:
    if shape in (None, NoneType):
        return value is None
    if shape is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _fits(value)
    if shape is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, shape)


def _fits(value: float) -> bool:
    """Return whether an int or float can be converted to a finite float."""
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _is_one_of(value: Any, options: tuple[Any, ...]) -> bool:
    return any(type(value) is type(option) and value == option for option in options)


def _expected(key: str, shape: Any, value: Any) -> str:
    where = f"key {key!r}: " if key else ""
    return f"{where}expected {_name_of(shape)}, found {_kind_of(value)}"


def _name_of(shape: Any) -> str:
    origin = get_origin(shape)
    if origin in (Union, UnionType):
        return " or ".join(_name_of(option) for option in get_args(shape))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(shape)))
    if origin is tuple:
        return f"a list of {len(get_args(shape))} values"
    names: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        dict: "keys and values",
        list: "a list",
        None: "null",
        NoneType: "null",
    }
    return names.get(origin or shape, "keys and values")


def _kind_of(value: Any) -> str:
    kinds: dict[type, str] = {dict: "keys and values", list: "a list"}
    return kinds.get(type(value)) or _shown(value)


def _shown(value: Any) -> str:
    """Return a value for a message, as in JSON: shortened, with control characters escaped."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ascii(value) if not str(value).isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dotted(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _finite(text: str) -> float:
    """Return a number of JSON as a float; NaN, infinities and overflows raise ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; a repeated key, which would hide a value, raises ValueError."""
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"key {twice!r} occurs twice")
    return content


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with a bound on nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            peek_event: Callable[[], Any] = self.peek_event  # untyped in PyYAML's stubs
            mark = peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _examine(node: yaml.Node | None, sizes: dict[int, int], source: str) -> int:
    """Return the number of nodes of `node` and below, with every use of an alias counted.

    Raises:
        DocumentError: too many nodes, an alias inside its own anchor, or a repeated key in one mapping.
    """
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    where = f"{source}, line {node.start_mark.line + 1}"
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise DocumentError(f"{where}: an alias is used inside its own anchor")
        return sizes[id(node)]
    sizes[id(node)] = 0
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated(node, source)
    size = 1
    for part in node.value:
        for each in part if isinstance(part, tuple) else (part,):
            size += _examine(each, sizes, source)
            if size > MAX_NODES:
                raise DocumentError(f"{where}: its aliases expand to more than {MAX_NODES} values")
    sizes[id(node)] = size
    return size


def _refuse_repeated(node: yaml.MappingNode, source: str) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if (key.tag, key.value) in seen:
                raise DocumentError(
                    f"{source}, line {key.start_mark.line + 1}: key {key.value!r} occurs twice"
                )
            seen.add((key.tag, key.value))
