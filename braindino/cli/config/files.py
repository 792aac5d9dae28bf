"""Shipped configs: found by bare name from any folder; a local file of that name comes first."""

import difflib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from braindino.errors import BraindinoError
from braindino.version import PACKAGE


def shipped_configs() -> dict[str, Path]:
    """Name -> path of every config that the package ships."""
    package = PACKAGE
    # An installed package carries its configs inside; a checkout has them beside the package.
    folder = next(path for path in (package / "configs", package.parent / "configs") if path.is_dir())
    return {path.name: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """The config file that `name` means: a path as it stands, else a shipped one (with or without `.yaml`).

    Raises:
        BraindinoError: neither; the nearest shipped names are told.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    for candidate in (name, f"{name}.yaml"):
        if candidate in shipped:
            return shipped[candidate]
    if path.is_dir():
        raise BraindinoError(f"--config {name}: is a folder, expected a YAML file.")
    near = difflib.get_close_matches(path.name, shipped, n=2, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise BraindinoError(f"--config {name}: no such file.{meant}\nShipped configs: {', '.join(shipped)}.")


def resolve_configs(arguments: Sequence[str]) -> list[str]:
    """`arguments` with every `--config NAME` / `-c NAME` / `--config=NAME` replaced by the path it means."""
    result: list[str] = []
    pending = False
    for argument in arguments:
        if pending:
            result.append(str(find_config(argument)))
            pending = False
        elif argument in ("--config", "-c"):
            result.append("--config")
            pending = True
        elif argument.startswith("--config="):
            result += ["--config", str(find_config(argument.partition("=")[2]))]
        else:
            result.append(argument)
    if pending:
        raise BraindinoError("--config: the name of a file is missing.")
    return result


def config_files(arguments: Sequence[str]) -> list[Path]:
    """The files that follow `--config` in resolved `arguments`."""
    return [Path(after) for word, after in pairwise(arguments) if word == "--config"]


def source_of(key: str, arguments: Sequence[str]) -> Path | None:
    """Return the config file that the value of a dotted key comes from.

    None if it comes from the command line, or is a default.
    """
    from braindino.files import read_yaml  # not above: `doctor` must answer where PyYAML is broken

    if any(word.partition("=")[0] == f"--{key}" for word in arguments):
        return None
    holding = [file for file in config_files(arguments) if _holds(read_yaml(file), key.split("."))]
    return holding[-1] if holding else None


def _holds(content: object, key: Sequence[str]) -> bool:
    """Return whether a config gives a key; what a class is made with may stand under `init_args`."""
    if not key:
        return True
    if not isinstance(content, dict):
        return False
    return any(
        _holds(content[name], rest)
        for name, rest in ((key[0], key[1:]), ("init_args", key))
        if name in content
    )
