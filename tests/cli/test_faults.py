"""Interrupt `fit` by kills and full disks: it continues with equal results."""

import csv
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from braindino.encoders.weight_files import read_file
from tests.helpers.killing import run_apart

TINY = str(Path(__file__).parent.parent / "conf" / "tiny_fit.yaml")
KILLS = 20
MEASURED = {"train/slices_per_second", "train/data_wait"}  # by the clock


def words(cohort: Path, root: Path, *more: str) -> list[str]:
    """Run 6 steps in two epochs with validation, and a checkpoint every 2 steps."""
    return [
        *("fit", "--config", "pretrain.yaml", "--config", TINY, f"--data.store={cohort / 'store'}"),
        *(
            "--run.root",
            str(root),
            "--run.id",
            "a",
            "--trainer.max_steps",
            "6",
            "--data.steps_per_epoch",
            "3",
        ),
        *("--run.checkpoint_every", "2", "--model.monitor_every", "2", *more),
    ]


def weights(root: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_file(root / "pretrain/a/checkpoints/step0000006.ckpt")["state_dict"]
    return state


def rows(root: Path) -> list[list[Any]]:
    """Return metrics.csv; for measured times only whether they exist."""
    with (root / "pretrain" / "a" / "metrics.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    clock = [name in MEASURED for name in header]
    return [header, *([bool(v) if c else v for v, c in zip(line, clock, strict=True)] for line in lines)]


def assert_same(root: Path, whole: Path) -> None:
    assert rows(root) == rows(whole)
    ours, expected = weights(root), weights(whole)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def whole(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run without interruption."""
    root = tmp_path_factory.mktemp("faults") / "whole"
    assert run_apart(words(cohort, root), root) == 0, Path(f"{root}.log").read_text()
    return root


def test_fit_killed_at_20_random_points_ends_with_equal_results(
    cohort: Path, whole: Path, tmp_path: Path
) -> None:
    changes = int(Path(f"{whole}.changes").read_text())
    draw = random.Random(0)
    kills = trial = 0
    while kills < KILLS:
        root, trial = tmp_path / f"trial{trial}", trial + 1
        code = -9
        while code == -9:
            at = draw.randrange(1, changes) if kills < KILLS else 0
            code = run_apart(words(cohort, root), root, kill_at=at)
            assert code in (0, -9), Path(f"{root}.log").read_text()
            kills += code == -9
        assert_same(root, whole)
        checkpoints = root / "pretrain" / "a" / "checkpoints"
        assert {path.name for path in checkpoints.iterdir()} >= {"step0000004.ckpt", "step0000006.ckpt"}
        assert run_apart(words(cohort, root), root) == 0
        assert "nothing to train" in Path(f"{root}.log").read_text()
        assert not [path for path in root.rglob(".*") if path.name != ".lock"]


def test_fit_on_full_disk_leaves_no_partial_file_and_continues(
    cohort: Path, whole: Path, tmp_path: Path
) -> None:
    root = tmp_path / "full"
    assert run_apart(words(cohort, root), root, largest_file=40_000) == 2
    printed = Path(f"{root}.log").read_text()
    error = printed[printed.index("braindino: error: ") :]
    assert f"{root}/pretrain/a/checkpoints/step0000002.ckpt: the checkpoint cannot be written" in error
    assert "MB are free on the disk of" in error
    assert len(error.strip().splitlines()) == 2
    assert "Traceback" not in printed
    assert list((root / "pretrain" / "a" / "checkpoints").iterdir()) == []
    assert run_apart(words(cohort, root), root) == 0
    assert_same(root, whole)


def test_fit_writes_nothing_into_the_temporary_folder(cohort: Path, whole: Path, tmp_path: Path) -> None:
    folder, root = tmp_path / "tmp", tmp_path / "runs"
    folder.mkdir()
    script = words(cohort, root)
    assert run_apart(script, folder, environment={"TMPDIR": str(folder)}) == 0
    assert Path(f"{folder}.changes").read_text() == "0"
    assert_same(root, whole)
