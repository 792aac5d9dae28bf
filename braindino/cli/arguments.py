"""Checks the keys of the Lightning verbs' configs and command line against what they configure."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from lightning.pytorch import Trainer

from braindino.cli.configs import config_files
from braindino.cli.keys import check_keys, keys_of, nest
from braindino.cli.run_folder import FitOptions, ProbeOptions
from braindino.files import read_yaml


def check_arguments(verb: str, arguments: Sequence[str]) -> None:
    """Check the keys of every config file and of the command line.

    Raises:
        BraindinoError: the first unknown key, with its file and the nearest known one.
    """
    sources = [(str(path), read_yaml(path)) for path in config_files(arguments)]
    sources.append(("command line", nest(_dotted(arguments))))
    classes = {
        key: value["class_path"]
        for _, content in sources
        for key, value in content.items()
        if isinstance(value, Mapping) and "class_path" in value
    }
    known = known_keys(verb)
    for source, content in sources:
        filled = {
            key: {"class_path": classes[key], **value}
            if key in classes and isinstance(value, Mapping) and "class_path" not in value
            else value
            for key, value in content.items()
        }
        check_keys(filled, known, source)


def known_keys(verb: str) -> dict[str, Any]:
    """The keys at the top of a config of `verb`, and what may stand under each."""
    known: dict[str, Any] = {
        "seed_everything": None,
        "trainer": keys_of(Trainer),
        "model": None,
        "data": None,
        "run": keys_of(ProbeOptions if verb == "probe" else FitOptions),
        "print_config": None,
        "config": None,
    }
    if verb == "probe":
        from braindino.probing import FrozenProbeModule, Protocol

        return known | {"model": keys_of(FrozenProbeModule), "probe": keys_of(Protocol)}
    return known | {"ckpt_path": None, "verbose": None}


def _dotted(arguments: Sequence[str]) -> list[tuple[str, Any]]:
    """`--a.b 1 --c=2` as pairs of key and YAML value; other words are values of the one before."""
    pairs: list[tuple[str, Any]] = []
    for position, argument in enumerate(arguments):
        if not argument.startswith("--"):
            continue
        key, equals, value = argument[2:].partition("=")
        if not equals:
            value = arguments[position + 1] if position + 1 < len(arguments) else ""
        if key == "config":
            continue
        try:
            parsed = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            parsed = value  # a word, which the parser will judge
        pairs.append((key.removesuffix("+"), parsed))
    return pairs
