"""Check the keys of configs and of the command line of Lightning verbs."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer

from braindino.cli.config.files import config_files
from braindino.cli.config.keys import check_keys, dotted_arguments, keys_of, nest
from braindino.errors import BraindinoError
from braindino.files import read_yaml, refuse_bomb
from braindino.training.run_folder import FitOptions, ProbeOptions

# Short forms of arguments of `braindino probe`.
SHORTHANDS = {"--baselines": "--probe.baselines", "--cache-gb": "--probe.cache_gb"}
Place = tuple[str, ...]
CHOSEN = ("data", "model", "head", "pooling", "cases")  # keys whose value may be the name of a class


def check_arguments(verb: str, arguments: Sequence[str]) -> None:
    """Check the keys of every config file and of the command line.

    Args:
        verb: name of the verb.
        arguments: words after the verb, with resolved configs.

    Raises:
        BraindinoError: the first unknown key, with its file and the nearest known one.
    """
    sources = [(str(path), read_yaml(path)) for path in config_files(arguments)]
    pairs = dotted_arguments(arguments)
    for name, content in sources:
        if not content:
            raise BraindinoError(f"{name}: empty, expected the keys and values of a config.")
        refuse_bomb(content, name)
    sources.append(("command line", nest(pairs)))
    classes: dict[Place, str] = {}
    for _, content in sources:
        classes |= class_paths(content)
    classes |= _named_classes(pairs)
    known = known_keys(verb)
    for source, content in sources:
        check_keys(with_classes(content, classes), known, source)


def expand_shorthands(verb: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `probe` with their `SHORTHANDS` written in full; those of others unchanged.

    Args:
        verb: name of the verb.
        arguments: words after the verb.
    """
    if verb != "probe":
        return list(arguments)
    words = [argument.partition("=") for argument in arguments]
    return [SHORTHANDS.get(name, name) + equals + value for name, equals, value in words]


def known_keys(verb: str) -> dict[str, Any]:
    """Return the top-level keys of a config of `verb`, and the keys or type allowed under each."""
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


def class_paths(content: Mapping[str, Any], place: Place = ()) -> dict[Place, str]:
    """Return the `class_path` at every place of a config; `init_args` is not part of a place.

    Args:
        content: a (part of a) config.
        place: keys that lead to `content`.
    """
    paths: dict[Place, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            inner = place if key == "init_args" else (*place, key)
            if isinstance(value.get("class_path"), str):
                paths[inner] = value["class_path"]
            paths |= class_paths(value, inner)
    return paths


def with_classes(
    content: Mapping[str, Any], classes: Mapping[Place, str], place: Place = ()
) -> dict[str, Any]:
    """Return a config in which arguments of a class have the `class_path` of another source.

    Args:
        content: a (part of a) config.
        classes: place -> `class_path`.
        place: keys that lead to `content`.
    """
    filled: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            inner = place if key == "init_args" else (*place, key)
            named = {"class_path": classes[inner]} if key != "init_args" and inner in classes else {}
            value = {**named, **with_classes(value, classes, inner)}
        filled[key] = value
    return filled


def _named_classes(pairs: Sequence[tuple[str, Any]]) -> dict[Place, str]:
    """Return the classes that the command line gives by name, as `--data Cohort --data.root x`."""
    named = {}
    for key, value in pairs:
        last = key.rpartition(".")[2]
        if isinstance(value, str) and last in CHOSEN and value not in ("true", "false"):
            named[tuple(key.split("."))] = value if "." in value else _module_of(value)
    return {place: path for place, path in named.items() if path}


def _module_of(name: str) -> str:
    """Return the dotted path of a class that is named without its module, or ""."""
    from braindino import datasets, probing

    for module in (datasets, probing):
        if isinstance(getattr(module, name, None), type):
            return f"{module.__name__}.{name}"
    return ""
