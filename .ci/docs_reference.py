"""Generate the reference of the documentation: a page per public name and per verb.

Public names are read from `__all__` without an import; the text of a verb is what its `--help` prints.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
# Packages whose `__all__` lists public names; an object that two of them list gets the page of the first.
PACKAGES = (
    "braindino",
    "braindino.datasets",
    "braindino.probing",
    "braindino.pretraining",
    "braindino.brainsegfounder",
)
# Task -> the modules that define its names. The longest prefix of an object's path decides.
GROUPS = {
    "Scans and stores": ("braindino.scans", "braindino.verbs.prepare"),
    "Datasets": (
        "braindino.datasets",
        "braindino.synthetic",
        "braindino.verbs.synth",
        "braindino.verbs.index",
        "braindino.verbs.check",
    ),
    "Encoders": (
        "braindino.encoders",
        "braindino.verbs.export",
        "braindino.verbs.embed",
        "braindino.verbs.maps",
    ),
    "Pretraining": ("braindino.pretraining", "braindino.training"),
    "Probing": ("braindino.probing", "braindino.verbs.probe", "braindino.verbs.knn", "braindino.verbs.bench"),
    "Prediction": ("braindino.probing.predict", "braindino.verbs.predict"),
    "Statistics and reports": (
        "braindino.analysis",
        "braindino.verbs.compare",
        "braindino.verbs.report",
        "braindino.verbs.space",
        "braindino.verbs.status",
    ),
    "BrainSegFounder": ("braindino.brainsegfounder",),
    "Installation and errors": ("braindino.errors", "braindino.verbs.demo", "braindino.verbs.doctor"),
}
NAMES_PAGE = "reference/python.md"
VERBS_PAGE = "reference/commands.md"


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        path: where users import it from, such as `braindino.load_encoder`.
        aliases: other public paths of the same object.
        group: the task that it is listed under, a key of `GROUPS`.
        summary: the first paragraph of its docstring.
    """

    path: str
    aliases: tuple[str, ...]
    group: str
    summary: str

    @property
    def page(self) -> str:
        """The source path of its page; a plain `index.md` would become the start page of the folder."""
        return f"reference/python/{self.path}.md"


@dataclass(frozen=True)
class Verb:
    """A verb of the command: its name, one line about it, and the text of its help."""

    verb: str
    summary: str
    help: str

    @property
    def page(self) -> str:
        """The source path of its page."""
        return f"reference/commands/braindino_{self.verb}.md"


def group_of(path: str) -> str:
    """Return the group of the object defined at `path`.

    Raises:
        PluginError: no group lists its module.
    """
    matches = [
        (len(prefix), group)
        for group, prefixes in GROUPS.items()
        for prefix in prefixes
        if path == prefix or path.startswith(prefix + ".")
    ]
    if not matches:
        raise PluginError(f"{path} is public but in no group of the reference: add it to {__file__}.")
    return max(matches)[1]


@cache
def public_names() -> tuple[Name, ...]:
    """Return the public classes and functions, by group and then by name."""
    package = griffe.load("braindino", search_paths=[str(ROOT)])
    paths: dict[str, list[str]] = {}
    for place in PACKAGES:
        module = package.modules_collection[place]
        for name in module.exports or ():
            if not str(name).startswith("_"):
                paths.setdefault(module[str(name)].canonical_path, []).append(f"{place}.{name}")
    names = []
    for defined, (path, *aliases) in paths.items():
        docstring = package.modules_collection[defined].docstring
        summary = " ".join(docstring.value.split("\n\n")[0].split()) if docstring else ""
        names.append(Name(path, tuple(aliases), group_of(defined), summary))
    groups = list(GROUPS)
    return tuple(sorted(names, key=lambda n: (groups.index(n.group), n.path.rpartition(".")[2].lower())))


@cache
def verbs() -> tuple[Verb, ...]:
    """Return the verbs in the order of `braindino --help`.

    Raises:
        PluginError: the package cannot be imported, or a verb has no help.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("docs_verbs.py"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise PluginError(f"the help of the verbs cannot be printed:\n{done.stderr}")
    return tuple(Verb(**each) for each in json.loads(done.stdout))


def names_page() -> str:
    """Return the page that lists every public name with one line each."""
    lines = [
        "# Python reference",
        "",
        "Every public name, by task. A name is imported when it is first used.",
    ]
    for group in GROUPS:
        members = [name for name in public_names() if name.group == group]
        if members:
            lines += ["", f"## {group}", ""]
        lines += [f"- [`{n.path}`]({n.page.removeprefix('reference/')}): {n.summary}" for n in members]
    return "\n".join(lines) + "\n"


def name_page(name: Name) -> str:
    """Return the page of one public name, which mkdocstrings fills."""
    lines = [f"::: {name.path}"]
    if name.aliases:
        lines += ["", f"Also importable as {', '.join(f'`{alias}`' for alias in name.aliases)}."]
    return "\n".join(lines) + "\n"


def verbs_page() -> str:
    """Return the page that lists the verbs."""
    lines = ["# Commands", "", "Each page contains what `braindino VERB --help` prints.", ""]
    for verb in verbs():
        link = verb.page.removeprefix("reference/")
        lines.append(f"- [`braindino {verb.verb}`]({link}): {verb.summary}")
    return "\n".join(lines) + "\n"


def verb_page(verb: Verb) -> str:
    """Return the page of one verb: its help as it is printed."""
    return f"# braindino {verb.verb}\n\n```text\n{verb.help}\n```\n"


def on_config(config: Any, **_: Any) -> Any:
    """Add the generated pages to the navigation, under Reference."""
    names: list[Any] = ["reference/python.md"]
    names += [
        {group: [{n.path.rpartition(".")[2]: n.page} for n in public_names() if n.group == group]}
        for group in GROUPS
        if any(n.group == group for n in public_names())
    ]
    commands: list[Any] = ["reference/commands.md", *({verb.verb: verb.page} for verb in verbs())]
    config.nav.append({"Reference": [{"Commands": commands}, {"Python": names}]})
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the generated pages themselves."""
    pages = {NAMES_PAGE: names_page(), VERBS_PAGE: verbs_page()}
    pages |= {name.page: name_page(name) for name in public_names()}
    pages |= {verb.page: verb_page(verb) for verb in verbs()}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files
