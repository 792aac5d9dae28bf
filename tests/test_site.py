"""The documentation builds without a warning, loads nothing from elsewhere, has a search."""

import html
import importlib
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from braindino.cli.main import ORDER, main
from braindino.scans.contract import Preprocessing
from tests.helpers.browser import find_browser
from tests.helpers.documents import ROOT

LOADED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//""")
LINKED = re.compile(
    r"""<link\b[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect)[^>]*\bhref=["']?(?:https?:)?//"""
)
PUBLIC = (
    "braindino",
    "braindino.datasets",
    "braindino.probing",
    "braindino.pretraining",
    "braindino.brainsegfounder",
    "braindino.synthetic",
    "braindino.analysis",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the extra `docs` builds the site")
    pytest.importorskip("mkdocstrings", reason="the extra `docs` builds the site")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out


def text_of(page: Path) -> str:
    """Return the text of a page without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not LOADED.search(text), page
        assert not LINKED.search(text), page


def test_site_search_works_on_a_page_opened_from_disk(site: Path, tmp_path: Path) -> None:
    text = find_browser(tmp_path).text(site / "index.html", query="?q=leakage")
    assert re.search(r"([2-9]|[1-9][0-9]) matching documents", text)


def test_reference_has_one_page_per_public_name(site: Path) -> None:
    paths: dict[int, set[str]] = {}  # of one object
    for package in PUBLIC:
        module = importlib.import_module(package)
        for name in module.__all__:
            if not name.startswith("_"):
                paths.setdefault(id(getattr(module, name)), set()).add(f"{package}.{name}")
    pages = {path.stem for path in (site / "reference" / "python").glob("*.html")}
    assert len(paths) > 50
    assert len(pages) == len(paths)
    assert [names for names in paths.values() if len(names & pages) != 1] == []
    listed = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert [page for page in pages if f'"python/{page}.html"' not in listed] == []


def test_reference_has_no_two_pages_that_differ_in_case_only(site: Path) -> None:
    pages = [path.relative_to(site).as_posix() for path in site.rglob("*.html")]
    assert len({page.casefold() for page in pages}) == len(pages)


def test_reference_lists_every_field_of_preprocessing(site: Path) -> None:
    text = (site / "reference" / "python" / "braindino.Preprocessing.html").read_text(encoding="utf-8")
    items = re.findall(r'<li class="doc-section-item field-body">\s*<b><code>(.*?)</code></b>', text)
    listed = [re.sub(r"<[^>]+>", "", item) for item in items]
    assert listed[: len(fields(Preprocessing))] == [field.name for field in fields(Preprocessing)]


def test_reference_has_the_options_of_dino_module(site: Path) -> None:
    text = text_of(site / "reference" / "python" / "braindino.DINOModule.html")
    assert "braindino.pretraining.views.views.ViewsConfig" in text


@pytest.mark.parametrize("verb", ORDER)
def test_reference_has_the_help_of_the_verb(verb: str, site: Path) -> None:
    text = text_of(site / "reference" / "commands" / f"braindino_{verb}.html")
    assert re.search(rf"usage: braindino (\[options\] )?{verb}\s", text)


@pytest.mark.parametrize("verb", ["prepare", "doctor"])
def test_reference_has_the_help_as_printed(
    verb: str, site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([verb, "--help"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed in text_of(site / "reference" / "commands" / f"braindino_{verb}.html")
