from pathlib import Path

import pytest

import braindino
from braindino.errors import BraindinoError
from braindino.training.state import record_state
from braindino.verbs.bench import Study, write_studies

CONFIG = "probe: {seeds: [0, 1], fractions: [1.0]}\ndata: {init_args: {}}\n"


def test_status_of_a_run_with_fewer_cells_than_its_config_is_incomplete(tmp_path: Path) -> None:
    run = tmp_path / "task" / "encoder" / "id"
    with record_state(run):
        (run / "config.yaml").write_text(CONFIG)
        cell = run / "cells" / "seed0_fraction1.0" / "cell.json"
        cell.parent.mkdir(parents=True)
        cell.write_text("{}")
    (progress,) = braindino.status([tmp_path])
    assert (progress.name, progress.state) == ("task, encoder", "incomplete")
    assert (progress.done, progress.cells, progress.is_finished) == (1, 2, False)


def test_status_of_a_bench_lists_studies_that_have_not_started(tmp_path: Path) -> None:
    write_studies(tmp_path, [Study("task", "encoder", tmp_path / "task" / "encoder")], 3)
    (progress,) = braindino.status(tmp_path)
    assert (progress.state, progress.done, progress.cells, progress.reason) == ("not started", 0, 3, "")


def test_status_refuses_a_folder_without_studies(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no bench and no run of `braindino probe` in it"):
        braindino.status(tmp_path)
