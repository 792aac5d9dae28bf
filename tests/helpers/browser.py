"""Run a headless Chromium, for tests of pages that need a browser."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass
class Browser:
    """Open pages from disk with a separate profile.

    Attributes:
        program: path of the browser.
        folder: where its profile is written.
    """

    program: str
    folder: Path

    def run(self, page: Path, *options: str, query: str = "") -> str:
        """Return what it prints about a page, after ten seconds of the page's virtual time."""
        command = [
            *(self.program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *(
                "--hide-scrollbars",
                f"--user-data-dir={self.folder / 'profile'}",
                "--virtual-time-budget=10000",
            ),
            *(*options, page.resolve().as_uri() + query),
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def text(self, page: Path, query: str = "") -> str:
        """Return the document after the page has loaded and its scripts have run."""
        return self.run(page, "--dump-dom", query=query)

    def picture(self, page: Path, out: Path, size: tuple[int, int]) -> None:
        """Write a PNG of the page's first `size` (width, height) pixels."""
        self.run(page, f"--screenshot={out}", f"--window-size={size[0]},{size[1]}")


def find_browser(folder: Path) -> Browser:
    """Return the first Chromium on the PATH, or skip the test if there is none."""
    for name in NAMES:
        if program := shutil.which(name):
            return Browser(program, folder)
    pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH (Debian: apt-get install chromium)")
