"""Show the progress of a long task: a bar on a terminal, occasional lines in a file."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

Item = TypeVar("Item")

MAX_PAUSE = 60.0  # seconds after which a line is printed even if no further tenth is done
DEFAULT_WIDTH = 80  # columns of a terminal that does not report its width
MIN_TIME_LEFT = 5.0  # remaining seconds below which a line omits the time left
_hidden = ContextVar("_hidden", default=False)
# Format of a bar whose items advance in fractions.
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class ProgressReport:
    """Show a bar on a terminal; in a file, a line at every tenth and after a minute without one.

    Both include the time left. Nested bars are drawn below each other; only the outermost one stays. Items
    that advance in fractions get a line every minute, not at every tenth.

    Args:
        total: number of items; 0 shows nothing.
        label: name of the task.
        unit: name of an item.
        show: False shows nothing.
        done: items that an earlier call has finished.
        whole: False if items advance in fractions, as epochs do by batches.
        pause: minimum seconds between two lines, and before the first.
        file: where to write; stderr if omitted.
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str = "scan",
        show: bool = True,
        done: int = 0,
        whole: bool = True,
        pause: float = 0.0,
        file: TextIO | None = None,
    ) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.position: float = done
        self._file = sys.stderr if file is None else file
        self._show = show and total > 0 and not _hidden.get()
        self._note = ""
        self._pause = pause if whole else MAX_PAUSE
        self._first: float = done
        self._tenths = 0 if total == 0 else done * 10 // total
        self._started = self._printed = time.monotonic()
        self._bar: Any = None
        if self._show and self._file.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=done,
                desc=label,
                unit=unit,
                leave=None,
                file=self._file,
                **width_of(self._file),
                bar_format=None if whole else _BAR,
            )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        self.close()

    def advance(self, count: float = 1) -> None:
        """Count `count` more items as done."""
        self.reach(self.position + count)

    def reach(self, position: float) -> None:
        """Set the number of items that are done to `position`."""
        step, self.position = position - self.position, position
        if self._bar is not None:
            self._bar.update(step)
        elif self._show:
            self._print_line()

    def note(self, text: str) -> None:
        """Show `text` beside the numbers from now on."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        """Leave or remove the bar and draw nothing more."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._show = False

    def _print_line(self) -> None:
        """Print a line if one is due."""
        now, tenths = time.monotonic(), int(self.position * 10 // self.total)
        waited = now - (self._started if self.position >= self.total else self._printed)
        if waited < self._pause or (tenths <= self._tenths and waited < MAX_PAUSE):
            return
        self._tenths, self._printed = tenths, now
        percent = int(self.position * 100 // self.total)
        parts = [f"{self.label}: {self.position:.0f} of {self.total} ({percent} %)"]
        if self._note:
            parts.append(self._note)
        if self.position > self._first:
            left = (now - self._started) / (self.position - self._first) * (self.total - self.position)
            if left >= MIN_TIME_LEFT:
                parts.append(f"{clock(left)} left")
        print(", ".join(parts), file=self._file, flush=True)


def announce(line: str, show: bool = True, file: TextIO | None = None) -> None:
    """Print a line about a long task and flush it.

    Args:
        line: the text.
        show: False prints nothing.
        file: where to write; stdout if omitted.
    """
    if show:
        print(line, flush=True, file=file)


def width_of(file: TextIO) -> dict[str, Any]:
    """Return the arguments of tqdm for the width of a bar; some terminals report 0 columns."""
    try:
        known = os.get_terminal_size(file.fileno()).columns > 0
    except (OSError, ValueError):  # no terminal behind it
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": DEFAULT_WIDTH}


def track(
    items: Iterable[Item],
    total: int,
    label: str,
    show: bool = True,
    unit: str = "scan",
    pause: float = 0.0,
) -> Iterator[Item]:
    """Yield `items` and show on stderr how many of `total` are done; see `ProgressReport`.

    Args:
        items: to iterate over.
        total: number of items; 0 shows nothing.
        label: name of the task.
        show: False shows nothing.
        unit: name of an item.
        pause: minimum seconds between two lines, and before the first.
    """
    with ProgressReport(total, label, unit, show, pause=pause) as progress:
        for item in items:
            yield item
            progress.advance()


def clock(seconds: float) -> str:
    """Return seconds as `1:41` or `2:03:09`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def show_elapsed(label: str, show: bool = True) -> Iterator[None]:
    """Show on a terminal how long the block has been running, for work without countable steps.

    Args:
        label: text before the time.
        show: False shows nothing.
    """
    if not (show and sys.stderr.isatty()) or _hidden.get():
        yield
        return
    from tqdm import tqdm

    finished = Event()
    with tqdm(desc=label, bar_format="{desc}: {elapsed}", leave=False) as bar:

        def refresh() -> None:
            while not finished.wait(1):
                bar.refresh()

        thread = Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()


@contextmanager
def hide_progress(hide: bool = True) -> Iterator[None]:
    """Show no progress within the block, for functions that have no argument for it.

    Args:
        hide: False leaves the block as it is.
    """
    token = _hidden.set(hide or _hidden.get())
    try:
        yield
    finally:
        _hidden.reset(token)


def disable_bar() -> bool | None:
    """Return tqdm's `disable`: True where progress is hidden, None for a bar on a terminal only."""
    return True if _hidden.get() else None
