"""Reads README and docs: fenced blocks, the commands in them, the files they show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?[^\n]*\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHELL = ("bash", "console")


def pages() -> list[str]:
    """Every page that people write; those of the reference are made from docstrings."""
    docs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", *(page for page in docs if not page.startswith("docs/reference/"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file name it is titled with or "", its text, its line."""

    language: str
    title: str
    text: str
    line: int

    def commands(self) -> list[str]:
        """Of a shell block, in order: in `console` the lines after `$ `, in `bash` all but comments."""
        text = self.text.replace("\\\n", " ")
        if self.language == "console":
            return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(m[1], m[2] or "", m[3], text[: m.start()].count("\n") + 2) for m in _FENCE.finditer(text)]


def inline_commands(page: str) -> list[list[str]]:
    """What stands in the text as `braindino VERB ...`, in words."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    found = re.findall(r"`braindino ([^`]+)`", text)
    return [shlex.split(command.replace("\n", " ")) for command in found]
