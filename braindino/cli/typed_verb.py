"""Run plain verbs: typed functions whose signature and docstring give arguments and help."""

import difflib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, get_args, get_origin

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser

from braindino.cli.config.messages import readable
from braindino.errors import BraindinoError


def verb_function(verb: str) -> Callable[..., int]:
    """Return the function that a plain verb runs."""
    module = f"braindino.cli.{verb}.command" if verb == "bench" else f"braindino.cli.{verb}"
    function: Callable[..., int] = getattr(import_module(module), verb)
    return function


def run(verb: str, arguments: Sequence[str]) -> int:
    """Parse arguments for the function `verb` of `braindino.cli.<verb>` and call it.

    Raises:
        BraindinoError: an argument is unknown, missing or of the wrong kind.
    """
    function = verb_function(verb)
    parser = build_parser(verb, function)
    given = to_parser_form(arguments, function)
    if {"-h", "--help"} & set(given):
        print(readable_help(parser.format_help()))
        return 0
    try:
        parsed = parser.parse_args(given)
    except ArgumentError as error:
        raise BraindinoError(explain(str(error), verb, function)) from None
    values = parsed.as_dict()
    rest = _rest(function)
    several = [] if rest is None else values.pop(rest.name)
    return function(*several, **values)


def build_parser(verb: str, function: Callable[..., int]) -> ArgumentParser:
    """Return a parser with the function's parameters; those without a default are positional.

    `*scans: Path` takes one word or more.

    Args:
        verb: name of the verb, for the usage line.
        function: typed and documented.
    """
    documentation = parse_docstring(function.__doc__ or "")
    # jsonargparse shows the short description above named arguments, so without any it must be added.
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    short = documentation.short_description if kinds == {inspect.Parameter.VAR_POSITIONAL} else None
    about = "\n\n".join(part for part in (short, documentation.long_description) if part) or None
    parser = ArgumentParser(
        prog=f"braindino {verb}", description=about, exit_on_error=False, allow_abbrev=False
    )
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    if (rest := _rest(function)) is not None:
        helps = {p.arg_name.lstrip("*"): p.description for p in documentation.params}
        parser.add_argument(rest.name, nargs="+", type=rest.annotation, help=helps.get(rest.name))
    return parser


def _rest(function: Callable[..., int]) -> inspect.Parameter | None:
    parameters = inspect.signature(function).parameters.values()
    return next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)


def to_parser_form(arguments: Sequence[str], function: Callable[..., int]) -> list[str]:
    """Convert arguments as users type them to the form that jsonargparse reads.

    `--retry-rejects` becomes `--retry_rejects=true`; `--point 3 40 52` of a tuple becomes
    `--point=[3,40,52]`; repeated options of a list, `--encoder a --encoder b`, become `--encoder=["a","b"]`.

    Args:
        arguments: words after the verb.
        function: function of the verb.
    """
    parameters = inspect.signature(function).parameters
    options: list[str] = []
    positional: list[str] = []
    lists: dict[str, list[str]] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        match = re.fullmatch(r"--([a-z][a-z0-9_-]*)(?:=(.*))?", word, flags=re.DOTALL)
        if match is None:
            (options if word == "-h" else positional).append(word)
            continue
        name, value = match[1].replace("-", "_"), match[2]
        kind = parameters[name].annotation if name in parameters else None
        flag = kind is bool and not (words and words[0].lower() in ("true", "false"))
        if value is None and flag:
            value = "true"
        elif value is None and (length := _tuple_length(kind)) and _are_values(words, length):
            value = f"[{','.join(words[:length])}]"
            del words[:length]
        elif value is None and words and not words[0].startswith("--"):
            value = words.pop(0)
        item = _list_of(kind)
        if item is not None and value is not None and not value.startswith("["):
            lists.setdefault(name, []).append(json.dumps(value) if item is str else value)
        else:
            options.append(f"--{name}" if value is None else f"--{name}={value}")
    # argparse requires positional words to be contiguous.
    return [*positional, *options, *(f"--{name}=[{','.join(values)}]" for name, values in lists.items())]


def _are_values(words: Sequence[str], count: int) -> bool:
    return len(words) >= count and not any(word.startswith(("[", "--")) for word in words[:count])


def _tuple_length(kind: Any) -> int:
    """Return 3 for `tuple[int, int, int]`, alone or as the only choice besides None; else 0."""
    members = [kind, *get_args(kind)] if get_origin(kind) is not tuple else [kind]
    tuples = [get_args(member) for member in members if get_origin(member) is tuple]
    plain = [m for m in members[1:] if m is not type(None) and get_origin(m) is not tuple]
    return len(tuples[0]) if tuples and not plain else 0


def _list_of(kind: Any) -> Any:
    """Return `str` for `list[str]` and `list[str] | None`, and None for everything else."""
    members = [each for each in get_args(kind) if each is not type(None)]
    if get_origin(kind) is not list and len(members) == 1:
        kind = members[0]
    return get_args(kind)[0] if get_origin(kind) is list else None


def readable_help(text: str) -> str:
    """Return help without notation of the parser: dashes, type names, one form per option."""
    text = re.sub(r", --[a-z_-]+\+( \[ITEM,\.\.\.\]| [A-Z_]+)?", "", text)
    return with_dashes(re.sub(r"<class\s+'(\w+)'>", r"\1", text).replace("[ITEM,...]", "TEXT"))


def with_dashes(text: str) -> str:
    """Return text with options written with dashes: `--retry_rejects` -> `--retry-rejects`."""
    return re.sub(r"--[a-z][a-z0-9_]+", lambda match: match[0].replace("_", "-"), text)


def explain(message: str, verb: str, function: Callable[..., Any]) -> str:
    """Return one to three lines for an error of the parser, with the most similar argument.

    Args:
        message: message of the parser.
        verb: name of the verb.
        function: function of the verb.
    """
    unknown = re.match(r"unrecognized arguments: (.*)", message, flags=re.IGNORECASE | re.DOTALL)
    hint = f"`braindino {verb} --help` lists the arguments."
    if unknown is None:
        problem = readable(message)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY and "are required" in problem:
                problem = re.sub(rf"(?<=[ ,]){name}\b", f"--{name}", problem)
        return f"{verb}: {with_dashes(problem)}\n{hint}"
    word = unknown[1].split()[0].partition("=")[0]
    if not word.startswith("-"):
        return f"{verb}: {word!r} is one word too many.\n{hint}"
    options = [f"--{name}" for name in inspect.signature(function).parameters]
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    meant = f" Did you mean {with_dashes(near[0])}?" if near else ""
    return f"{verb}: no argument {with_dashes(word)}.{meant}\n{hint}"
