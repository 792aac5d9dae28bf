"""Find shipped configs by name from any folder; a local file of that name takes precedence."""

import difflib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from braindino.errors import BraindinoError
from braindino.version import PACKAGE


def shipped_configs() -> dict[str, Path]:
    """Return name -> path of every config that the package ships."""
    package = PACKAGE
    # An installed package contains its configs; a checkout has them beside the package.
    folder = next(path for path in (package / "configs", package.parent / "configs") if path.is_dir())
    return {path.name: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """Return the config file of a name: an existing path, else a shipped config.

    Args:
        name: a path, or the name of a shipped config with or without `.yaml`.

    Raises:
        BraindinoError: there is none; the message lists the most similar shipped names.
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
    """Return arguments in which the name after every `--config` or `-c` is replaced by its path."""
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
    """Return the files that follow `--config` in resolved `arguments`."""
    return [Path(after) for word, after in pairwise(arguments) if word == "--config"]


def source_of(key: str, arguments: Sequence[str]) -> Path | None:
    """Return the config file that gives the value of a dotted key, or None.

    Args:
        key: dotted key.
        arguments: words after the verb, with resolved configs.

    Returns:
        None if the command line gives the value, or if it is a default.
    """
    # A local import, because `doctor` must work where PyYAML is broken.
    from braindino.files import read_yaml

    if any(word.partition("=")[0] == f"--{key}" for word in arguments):
        return None
    sources = [file for file in config_files(arguments) if _contains(read_yaml(file), key.split("."))]
    return sources[-1] if sources else None


def _contains(content: object, key: Sequence[str]) -> bool:
    """Return whether a config contains a key; arguments of a class may be under `init_args`."""
    if not key:
        return True
    if not isinstance(content, dict):
        return False
    return any(
        _contains(content[name], rest)
        for name, rest in ((key[0], key[1:]), ("init_args", key))
        if name in content
    )
