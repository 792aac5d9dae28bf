"""metrics.csv: columns that come late, and a run that continues."""

import csv
import resource
from pathlib import Path

import pytest

from braindino.training.csv_logger import MetricsCSV


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_csv_late_columns_and_flush(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path, flush_every=2)
    logger.log_metrics({"a": 1.0}, step=1)
    assert not logger.path.exists()
    logger.log_metrics({"a": 2.0, "b": 3.0}, step=2)
    logger.log_metrics({"c": 4.0}, step=3)
    logger.finalize("success")
    assert rows(logger.path) == [
        {"step": "1", "a": "1.0", "b": "", "c": ""},
        {"step": "2", "a": "2.0", "b": "3.0", "c": ""},
        {"step": "3", "a": "", "b": "", "c": "4.0"},
    ]


def test_metrics_csv_of_a_continued_run_is_that_of_one_run(tmp_path: Path) -> None:
    first = MetricsCSV(tmp_path)
    for step in range(1, 6):
        first.log_metrics({"loss": step / 2}, step=step)
    first.finalize("interrupted")
    second = MetricsCSV(tmp_path)
    second.rewind(4)  # the checkpoint was made after steps 0 to 3
    for step in range(4, 7):
        second.log_metrics({"loss": step / 2, "new": 0.0}, step=step)
    second.finalize("success")
    assert [row["step"] for row in rows(second.path)] == ["1", "2", "3", "4", "5", "6"]
    assert [float(row["loss"]) for row in rows(second.path)] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def test_rewind_drops_columns_without_rows_and_half_rows(tmp_path: Path) -> None:
    """They return where an uninterrupted run has them."""
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.log_metrics({"loss": 2.0, "val": 3.0}, step=1)
    logger.save()
    logger.path.write_text(logger.path.read_text() + "2,4.")
    again = MetricsCSV(tmp_path)
    again.rewind(1)
    assert logger.path.read_text().splitlines() == ["step,loss", "0,1.0"]
    again.rewind(0)
    assert not logger.path.exists()


def test_metrics_csv_on_a_full_disk_has_whole_rows(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    before = logger.path.read_bytes()
    logger.log_metrics({"loss": 2.0}, step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            logger.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(logger.path)
    assert logger.path.read_bytes() == before
    logger.save()
    assert [row["loss"] for row in rows(logger.path)] == ["1.0", "2.0"]


def test_rewind_before_anything_was_written(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    logger.rewind(3)
    assert not logger.path.exists()
