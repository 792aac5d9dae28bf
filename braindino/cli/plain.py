"""Plain verbs: a typed function is a command; its signature and docstring are arguments and help."""

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from braindino.cli.messages import readable
from braindino.errors import BraindinoError


def run(verb: str, arguments: Sequence[str]) -> int:
    """Parse `arguments` for the function that is named like `verb` in `braindino.cli.<verb>` and call it.

    Raises:
        BraindinoError: an argument is unknown, missing or of the wrong kind.
    """
    function: Callable[..., int] = getattr(import_module(f"braindino.cli.{verb}"), verb)
    parser = build_parser(verb, function)
    given = normalise(arguments, function)
    if {"-h", "--help"} & set(given):
        print(with_dashes(parser.format_help()))
        return 0
    try:
        parsed = parser.parse_args(given)
    except ArgumentError as error:
        raise BraindinoError(explain(str(error), verb, function)) from None
    return function(**parsed.as_dict())


def build_parser(verb: str, function: Callable[..., int]) -> ArgumentParser:
    """A parser with the function's parameters: those without a default are positional."""
    parser = ArgumentParser(prog=f"braindino {verb}", exit_on_error=False, allow_abbrev=False)
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    return parser


def normalise(arguments: Sequence[str], function: Callable[..., int]) -> list[str]:
    """`--retry-rejects` -> `--retry_rejects=true`: dashes as users type them, and flags without a value."""
    flags = {name for name, p in inspect.signature(function).parameters.items() if p.annotation is bool}
    result = []
    for position, argument in enumerate(arguments):
        match = re.fullmatch(r"--([a-z][a-z0-9_-]*)(=.*)?", argument, flags=re.DOTALL)
        if match is None:
            result.append(argument)
            continue
        name, value = match[1].replace("-", "_"), match[2] or ""
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        if name in flags and not value and following.lower() not in ("true", "false"):
            value = "=true"
        result.append(f"--{name}{value}")
    return result


def with_dashes(text: str) -> str:
    """`--retry_rejects` -> `--retry-rejects` in text for a person."""
    return re.sub(r"--[a-z][a-z0-9_]+", lambda match: match[0].replace("_", "-"), text)


def explain(message: str, verb: str, function: Callable[..., Any]) -> str:
    """One to three lines for an error of the parser, with the nearest argument there is."""
    unknown = re.match(r"unrecognized arguments: (.*)", message, flags=re.IGNORECASE | re.DOTALL)
    hint = f"`braindino {verb} --help` lists the arguments."
    if unknown is None:
        return f"{verb}: {with_dashes(readable(message))}\n{hint}"
    word = unknown[1].split()[0]
    options = [f"--{name}" for name in inspect.signature(function).parameters]
    near = difflib.get_close_matches(word.partition("=")[0], options, n=1, cutoff=0.5)
    meant = f" Did you mean {with_dashes(near[0])}?" if near else ""
    return f"{verb}: no argument {with_dashes(word)}.{meant}\n{hint}"
