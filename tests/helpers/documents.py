"""Read README and docs: fenced blocks, the commands in them, the files that they show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?[^\n]*\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHELL = ("bash", "console")


def pages() -> list[str]:
    """Return the path of every page, except the generated reference."""
    docs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", *(page for page in docs if not page.startswith("docs/reference/"))]


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the word after the fence, or "".
        title: the file name in its title, or "".
        text: its lines.
        line: number of its first line in the page.
    """

    language: str
    title: str
    text: str
    line: int

    def commands(self) -> list[str]:
        """Return its commands: in `console` the lines after `$ `, in `bash` all but comments."""
        text = self.text.replace("\\\n", " ")
        if self.language == "console":
            return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(m[1], m[2] or "", m[3], text[: m.start()].count("\n") + 2) for m in _FENCE.finditer(text)]


def inline_commands(page: str) -> list[list[str]]:
    """Return the words of every `braindino VERB ...` in the text outside of blocks."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    commands = re.findall(r"`braindino ([^`]+)`", text)
    return [shlex.split(command.replace("\n", " ")) for command in commands]
