"""Show bars on a terminal and lines in files."""

import io

import pytest

from braindino.progress import ProgressReport, clock, disable_bar, hide_progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time as a list whose only entry a test may change."""
    time = [0.0]
    monkeypatch.setattr("braindino.progress.time.monotonic", lambda: time[0])
    return time


def test_progress_report_prints_tenths_with_the_time_left(now: list[float]) -> None:
    file = io.StringIO()
    with ProgressReport(20, "prepare", file=file) as report:
        for _ in range(20):
            now[0] += 3
            report.advance()
    lines = file.getvalue().splitlines()
    assert lines[0] == "prepare: 2 of 20 (10 %), 0:54 left"
    assert lines[-1] == "prepare: 20 of 20 (100 %)"
    assert len(lines) == 10


def test_progress_report_prints_at_least_every_minute(now: list[float]) -> None:
    file = io.StringIO()
    with ProgressReport(10, "epochs", whole=False, file=file) as report:
        report.note("val/auroc 0.700")
        for batch in range(1, 9):
            now[0] += 20
            report.reach(batch / 100)
    assert file.getvalue().splitlines() == [
        "epochs: 0 of 10 (0 %), val/auroc 0.700, 5:32:20 left".replace("5:32:20", clock(60 / 0.03 * 9.97)),
        "epochs: 0 of 10 (0 %), val/auroc 0.700, " + clock(120 / 0.06 * 9.94) + " left",
    ]


def test_progress_report_prints_nothing_for_quick_tasks(now: list[float]) -> None:
    file = io.StringIO()
    with ProgressReport(5, "cells", "cell", pause=15, file=file) as report:
        for _ in range(5):
            now[0] += 1
            report.advance()
    assert file.getvalue() == ""


def test_progress_report_prints_the_end_of_long_tasks(now: list[float]) -> None:
    file = io.StringIO()
    with ProgressReport(2, "cells", "cell", pause=15, file=file) as report:
        now[0] += 14
        report.advance()
        now[0] += 14
        report.advance()
    assert file.getvalue() == "cells: 2 of 2 (100 %)\n"


def test_progress_report_counts_from_what_was_done_before(now: list[float]) -> None:
    file = io.StringIO()
    with ProgressReport(10, "cells", "cell", done=5, file=file) as report:
        now[0] += 10
        report.advance()
    assert file.getvalue() == "cells: 6 of 10 (60 %), 0:40 left\n"


def test_progress_report_draws_a_bar_on_a_terminal() -> None:
    file = Terminal()
    with ProgressReport(4, "cells", "cell", done=1, file=file) as report:
        report.note("seed 1")
        report.advance()
        with ProgressReport(100, "epochs", whole=False, file=file) as inner:
            inner.reach(50.5)
    shown = file.getvalue()
    assert "cells:  25%" in shown
    assert "1/4" in shown
    assert "epochs:   0%" in shown


def test_track_shows_nothing_when_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), 3, "x", show=False)) == ["a", "b", "c"]
    assert list(track(iter(""), 0, "x")) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (101.4, "1:41"), (7389, "2:03:09")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_hide_progress_hides_bars_and_lines() -> None:
    file = io.StringIO()
    with hide_progress():
        assert disable_bar() is True
        with ProgressReport(2, "prepare", file=file) as report, hide_progress(False):
            report.advance(2)
    assert file.getvalue() == ""
    with hide_progress(False):
        assert disable_bar() is None
