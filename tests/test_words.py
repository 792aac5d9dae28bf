"""Words and names that the style excludes (CONTRIBUTING, "Style") are not used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.documents import ROOT

WORDS = ("told", "said", "nobody", "somebody", "whoever", "anew", "held against", "otherwise than")
NAMES = {"found", "told", "said", "there", "held", "own", "others"}
PREFIXES = ("MOST_", "FEWEST_", "LITTLE_")

# A phrase may be broken between two lines, in a comment too.
PATTERN = re.compile(
    r"\b(" + "|".join(r"(?:\s|#)+".join(phrase.split()) for phrase in WORDS) + r")\b", re.IGNORECASE
)
SUFFIXES = {"", ".cff", ".html", ".md", ".py", ".toml", ".yaml", ".yml"}
# Files and folders that are searched.
PLACES = (
    ".ci",
    ".github",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CITATION.cff",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "benchmarks",
    "braindino",
    "configs",
    "docs",
    "mkdocs.yml",
    "pyproject.toml",
    "recipes",
    "tests",
)


def files_of(place: str) -> Iterator[Path]:
    """Yield the text files at a path below the root, except this test, which lists the words."""
    path = ROOT / place
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if (file.suffix in SUFFIXES or file == path) and file.is_file() and file != Path(__file__):
            yield file


def excluded_words(text: str) -> list[tuple[int, str]]:
    """Return the line and the text of every excluded word or phrase."""
    return [(text.count("\n", 0, match.start()) + 1, match[0]) for match in PATTERN.finditer(text)]


def excluded_names(tree: ast.AST) -> list[tuple[int, str]]:
    """Return the line and the name of every excluded variable, argument, attribute and constant."""
    names = []
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.append((node.lineno, name))
            case ast.arg(arg=name):
                names.append((node.lineno, name))
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)):
                names.append((node.lineno, name))
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.append((node.lineno, name))
    return [(line, name) for line, name in names if name in NAMES or name.lstrip("_").startswith(PREFIXES)]


def listed(file: Path, matches: list[tuple[int, str]]) -> list[str]:
    """Return the matches as `file:line: text`."""
    return [f"{file.relative_to(ROOT)}:{line}: {text}" for line, text in matches]


@pytest.mark.parametrize("place", PLACES)
def test_words_are_plain(place: str) -> None:
    files = list(files_of(place))
    assert files, place
    assert [
        each for file in files for each in listed(file, excluded_words(file.read_text(encoding="utf-8")))
    ] == []


@pytest.mark.parametrize("place", PLACES)
def test_names_are_nouns(place: str) -> None:
    files = [file for file in files_of(place) if file.suffix == ".py"]
    assert [
        each
        for file in files
        for each in listed(file, excluded_names(ast.parse(file.read_text(encoding="utf-8"))))
    ] == []


@pytest.mark.parametrize(
    "text", ["Nobody did.", "it was\n    # told", "held\nagainst", "held\n    # against"]
)
def test_excluded_words_finds(text: str) -> None:
    assert len(excluded_words(text)) == 1


@pytest.mark.parametrize("text", ["mentioned foretold", "sad", "beheld against"])
def test_excluded_words_passes_over(text: str) -> None:
    assert excluded_words(text) == []


@pytest.mark.parametrize(
    "code",
    [
        "found = 1",
        "def f(own): pass",
        "def f(*others): pass",
        "for there in x: pass",
        "self.held = 1",
        "[told for told in x]",
        "MOST_ROWS = 3",
        "_LITTLE_ROOM = 3",
        "with x as said: pass",
        "import x as found",
        "found: int",
        "lambda told: 1",
    ],
)
def test_excluded_names_finds(code: str) -> None:
    assert len(excluded_names(ast.parse(code))) == 1


@pytest.mark.parametrize("code", ["print(found)", "f(own=1)", "own_scans = 1", "x.found", "MOSTLY = 1"])
def test_excluded_names_passes_over(code: str) -> None:
    assert excluded_names(ast.parse(code)) == []
