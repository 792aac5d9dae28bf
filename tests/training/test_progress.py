"""Progress of `fit`: lines for a log, one bar over all steps for a terminal."""

import re
import sys
from pathlib import Path

import pytest

from braindino.training.progress import BarProgress, LineProgress, progress_callback
from tests.helpers.slices import FakeSlices
from tests.helpers.tiny_module import tiny_module, trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_line_progress_prints_a_line_per_step(accumulate: int, capsys: pytest.CaptureFixture[str]) -> None:
    t = trainer(3, callbacks=[LineProgress()], log_every_n_steps=1, accumulate_grad_batches=accumulate)
    t.fit(tiny_module(), FakeSlices())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all(re.search(r"  loss \d+\.\d{3}  \d+\.\d\d s/step  \d+:\d\d left$", line) for line in lines)


def test_bar_progress_is_one_bar_over_all_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    t = trainer(7, callbacks=[BarProgress()], limit_train_batches=2)  # epochs of two steps
    t.fit(tiny_module(), FakeSlices())
    shown = capsys.readouterr().err
    assert "7/7" in shown
    assert "0/7" in shown
    assert not re.search(r"\d/[^7]", shown.split("loss")[0])
    assert re.search(r"loss \d+\.\d{3}", shown)


def test_progress_callback_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(progress_callback(), LineProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(progress_callback(), BarProgress)
