"""Generate the reference of the documentation: a page per public name and per verb.

Public names are read from `__all__` without an import. The page of a name also has the dataclasses of its
signature, such as a result or a group of options. The text of a verb is what its `--help` prints.
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
    "braindino.synthetic",
    "braindino.analysis",
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
# Dataclasses in the signature of a public name that users do not need.
INTERNAL = {"braindino.scans.store.layout.StoreLayout"}
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
        defined: where it is defined, such as `braindino.encoders.checkpoints.load_encoder`.
    """

    path: str
    aliases: tuple[str, ...]
    group: str
    summary: str
    defined: str

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
def package() -> griffe.ModulesCollection:
    """Return the modules of the package, read without an import."""
    return griffe.load("braindino", search_paths=[str(ROOT)]).modules_collection


@cache
def public_names() -> tuple[Name, ...]:
    """Return the public classes and functions, by group and then by name."""
    paths: dict[str, list[str]] = {}
    for place in PACKAGES:
        module = package()[place]
        for name in module.exports or ():
            if not str(name).startswith("_"):
                paths.setdefault(module[str(name)].canonical_path, []).append(f"{place}.{name}")
    names = []
    for defined, (path, *aliases) in paths.items():
        docstring = package()[defined].docstring
        summary = " ".join(docstring.value.split("\n\n")[0].split()) if docstring else ""
        names.append(Name(path, tuple(aliases), group_of(defined), summary, defined))
    groups = list(GROUPS)
    return tuple(sorted(names, key=lambda n: (groups.index(n.group), n.path.rpartition(".")[2].lower())))


def records_of(path: str) -> list[str]:
    """Return the paths of the dataclasses in the signature of an object, and in theirs."""
    defined = package()[path]
    annotations = [parameter.annotation for parameter in getattr(defined, "parameters", ())]
    annotations.append(getattr(defined, "returns", None))
    used = [
        name.canonical_path
        for annotation in annotations
        if isinstance(annotation, griffe.Expr)
        for name in annotation.iterate(flat=True)
        if isinstance(name, griffe.ExprName) and name.canonical_path.startswith("braindino.")
    ]
    direct = list(dict.fromkeys(package()[name].canonical_path for name in used))
    records = [name for name in direct if "dataclass" in package()[name].labels and name not in INTERNAL]
    return list(dict.fromkeys([*records, *(nested for name in records for nested in records_of(name))]))


@cache
def records() -> dict[str, list[str]]:
    """Return the dataclasses shown on the page of each public name: on the first page that needs them."""
    shown = {name.defined for name in public_names()}
    pages: dict[str, list[str]] = {}
    for name in public_names():
        pages[name.path] = [record for record in records_of(name.defined) if record not in shown]
        shown.update(pages[name.path])
    return pages


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
    for record in records()[name.path]:
        lines += ["", f"::: {record}", "    options:", "      heading_level: 2"]
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
