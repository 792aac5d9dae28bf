"""The documentation as a site: built without a warning, loads nothing from elsewhere, searched from disk."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.browser import find_browser
from tests.helpers.documents import ROOT

LOADED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//""")
LINKED = re.compile(
    r"""<link\b[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect)[^>]*\bhref=["']?(?:https?:)?//"""
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


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not LOADED.search(text), page
        assert not LINKED.search(text), page


def test_a_page_from_the_disk_is_searched(site: Path, tmp_path: Path) -> None:
    found = find_browser(tmp_path).text(site / "index.html", query="?q=leakage")
    assert re.search(r"([2-9]|[1-9][0-9]) matching documents", found)
