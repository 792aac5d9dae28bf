"""Divided work: the same results in the same order, a bar on a terminal, a dead process told in a line."""

import io
import os
import sys

import pytest

from braindino.cli.parallel import clocked, divided
from braindino.errors import BraindinoError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def die(number: int) -> None:
    os._exit(3)


def refuse(number: int) -> None:
    raise ValueError(f"not {number}")


def test_the_results_do_not_depend_on_the_processes() -> None:
    alone = list(divided(square, [3, 1, 2], "square"))
    several = list(divided(square, [3, 1, 2], "square", jobs=2))
    assert [value for value, _ in alone] == [value for value, _ in several] == [9, 1, 4]
    assert {pid for _, pid in alone} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in several}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_comes_through(jobs: int) -> None:
    with pytest.raises(ValueError, match="not 7"):
        list(divided(refuse, [7, 8], "refuse", jobs))


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(BraindinoError, match=r"a process died.*fewer --jobs"):
        list(divided(die, [1, 2], "die", jobs=2))


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert len(list(divided(square, [1, 2, 3], "compare", unit="comparison"))) == 3
    assert "compare: 100%" in terminal.getvalue()
    with clocked("t-SNE"):
        pass
    assert "t-SNE: 00:00" in terminal.getvalue()


def test_a_file_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    list(divided(square, [1, 2, 3], "compare"))
    with clocked("t-SNE"):
        pass
    assert capsys.readouterr().err == ""
