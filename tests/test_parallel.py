"""Test that work in several processes gives the same results in order, and reports a dead process."""

import io
import os
import sys

import pytest

from braindino.errors import BraindinoError
from braindino.parallel import parallel_map
from braindino.progress import show_elapsed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def die(number: int) -> None:
    os._exit(3)


def refuse(number: int) -> None:
    raise ValueError(f"not {number}")


def test_parallel_map_results_do_not_depend_on_jobs() -> None:
    alone = list(parallel_map(square, [3, 1, 2], "square"))
    several = list(parallel_map(square, [3, 1, 2], "square", jobs=2))
    assert [value for value, _ in alone] == [value for value, _ in several] == [9, 1, 4]
    assert {pid for _, pid in alone} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in several}


@pytest.mark.parametrize("jobs", [1, 2])
def test_parallel_map_raises_errors_of_the_function(jobs: int) -> None:
    with pytest.raises(ValueError, match="not 7"):
        list(parallel_map(refuse, [7, 8], "refuse", jobs))


def test_parallel_map_reports_a_dead_process() -> None:
    with pytest.raises(BraindinoError, match=r"a process died.*smaller --jobs"):
        list(parallel_map(die, [1, 2], "die", jobs=2))


def test_parallel_map_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert len(list(parallel_map(square, [1, 2, 3], "compare", unit="comparison"))) == 3
    assert "compare: 100%" in terminal.getvalue()
    with show_elapsed("t-SNE"):
        pass
    assert "t-SNE: 00:00" in terminal.getvalue()


def test_parallel_map_shows_no_bar_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    list(parallel_map(square, [1, 2, 3], "compare"))
    with show_elapsed("t-SNE"):
        pass
    assert capsys.readouterr().err == ""
