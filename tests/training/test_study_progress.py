"""Test the progress of run folders: finished cells, and their times."""

import io
import os
import sys
from pathlib import Path

import pytest

from braindino.errors import BraindinoError
from braindino.training.state import record_state
from braindino.training.study_progress import (
    baseline_folder,
    requested_baselines,
    requested_cells,
    seconds_per_cell,
    show_cells,
    study_progress,
)

CONFIG = (
    "probe: {{seeds: [0, 1], fractions: [0.5, 1.0]}}\ndata: {{init_args: {{folds: {folds}, fold: {fold}}}}}\n"
)


def cell(folder: Path, number: int, at: float) -> None:
    file = folder / "cells" / f"seed{number}_fraction1.0" / "cell.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    os.utime(file, (at, at))


def test_seconds_per_cell_ignores_pauses(tmp_path: Path) -> None:
    assert seconds_per_cell([tmp_path]) is None
    for number, at in enumerate((100, 102, 105, 5000, 5002)):
        cell(tmp_path, number, at)
    assert seconds_per_cell([tmp_path, tmp_path / "nothing"]) == (2.0, 3)
    known = study_progress("a", tmp_path, 8)
    assert (known.done, known.cells, known.state) == (5, 8, "not started")


@pytest.mark.parametrize(("folds", "fold", "cells"), [("null", "null", 4), ("5", "null", 20), ("5", "2", 4)])
def test_requested_cells_counts_those_of_a_config(tmp_path: Path, folds: str, fold: str, cells: int) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.format(folds=folds, fold=fold))
    assert requested_cells(tmp_path) == cells


def test_study_progress_counts_baselines_by_name(tmp_path: Path) -> None:
    names = ["unet", "no_tokens"]
    for number in range(2):
        cell(tmp_path, number, 100)
    cell(baseline_folder(tmp_path, "unet"), 0, 100)
    known = study_progress("a", tmp_path, 2, names)
    assert (known.done, known.cells) == (3, 6)
    with record_state(tmp_path):
        pass
    assert study_progress("a", tmp_path, 2).is_finished
    assert study_progress("a", tmp_path, 2, names).state == "incomplete"
    # A baseline that failed is not tried again and again.
    (tmp_path / "results.json").write_text('{"baselines_failed": {"no_tokens": "x", "unet": "y"}}')
    assert study_progress("a", tmp_path, 2, names).is_finished


def test_requested_baselines_are_those_with_a_name(tmp_path: Path) -> None:
    for setting, names in (("true", ()), ("unet", ("unet",)), ("[unet, no_tokens]", ("unet", "no_tokens"))):
        text = CONFIG.format(folds="null", fold="null")
        (tmp_path / "config.yaml").write_text(text.replace("1.0]", f"1.0], baselines: {setting}"))
        assert requested_baselines(tmp_path) == names


def test_requested_cells_refuses_a_folder_without_a_probe(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match=r"no config\.yaml"):
        requested_cells(tmp_path)
    (tmp_path / "config.yaml").write_text("model: {}\n")
    with pytest.raises(BraindinoError, match="not the config of a probe"):
        requested_cells(tmp_path)


def test_show_cells_draws_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    folders = [tmp_path / name for name in ("a", "b")]
    cell(tmp_path / "a", 0, 100)
    with show_cells(folders, 2):
        cell(tmp_path / "b", 0, 200)
    shown = terminal.getvalue()
    assert "bench:  25%" in shown
    assert "bench:  50%" in shown
    assert "2/4" in shown
