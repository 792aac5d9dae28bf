"""Append the tables of benchmarks/results/ to the page of benchmarks."""

from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the Markdown of a page; mkdocs calls this for every page."""
    if page.file.src_uri != "benchmarks.md":
        return markdown
    texts = [path.read_text(encoding="utf-8").strip() for path in sorted(RESULTS.glob("*.md"))]
    # A file's title becomes a section of the page.
    sections = [
        "\n".join("#" + line if line.startswith("#") else line for line in text.splitlines())
        for text in texts
    ]
    return "\n\n".join([markdown, *sections])
