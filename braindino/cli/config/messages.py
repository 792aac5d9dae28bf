"""Shorten error messages of the parser to one line with key, expected type and value."""

import difflib
import re

_KEY = re.compile(r'Parser key "([^"]+)"')
_TYPES = (
    (r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*?)\]", r"one of \1"),
    (r"(?:typing\.|pathlib\.)", ""),
)


def readable(message: str) -> str:
    """Return one line for a message of jsonargparse: `model.lr: expected float, got 'k'`.

    A message of an unknown kind is returned with its lines joined, so that no information is lost.
    """
    keys = list(dict.fromkeys(_KEY.findall(message)))
    expected = [
        line.strip(" -") for line in message.splitlines() if "Expected a" in line and "NoneType" not in line
    ]
    problem = re.search(r"Problem with given class_path '[^']+':\s*\n\s*(.+)", message)
    value = re.search(r"Got value: (.*)|Given value: (.*)", message)
    if keys and expected:
        wanted = re.sub(r".*?Expected an? ", "", expected[-1]).partition(". Got value")[0]
        for pattern, replacement in _TYPES:
            wanted = re.sub(pattern, replacement, wanted)
        got = None if value is None else (value[1] or value[2] or "").strip()[:80]
        key = _dotted(keys)
        if wanted.startswith("dot import path string") and got is not None and "." not in got:
            return f"{key}: {_no_class(got)}"
        if got == "None" and "Expected a <class 'NoneType'>" in message and "." in key:
            # jsonargparse 4.53 turns null into text where an argument belongs to a dataclass inside a class
            parent, _, last = key.rpartition(".")
            return f"{key}: null is understood as --{parent} '{{{last}: null}}', or in a config."
        return f"{key}: expected {wanted}" + ("." if got is None else f", got {got!r}.")
    if keys and problem is not None and "Parser key" not in problem[1]:
        return f"{_dotted(keys)}: {problem[1].strip()}."
    text = " ".join(line.strip() for line in message.splitlines() if line.strip())
    return text[:400] + (" ..." if len(text) > 400 else "")


def _no_class(name: str) -> str:
    """Return the message for an unknown class name, with similar names."""
    from braindino.datasets import DATASETS
    from braindino.probing import __all__ as probing

    near = difflib.get_close_matches(name, [*(at.partition(":")[2] for at in DATASETS.values()), *probing], 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"no class {name!r}.{hint} Name your own class with its module: my_file.{name}."


def _dotted(keys: list[str]) -> str:
    """Join nested keys, `model`, `lr` -> `model.lr`, without repeating a parent."""
    path = ""
    for key in keys:
        path = key if not path or key.startswith(f"{path}.") else f"{path}.{key}"
    return path
