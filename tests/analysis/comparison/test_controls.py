"""Test the table of models against the baselines of their probes."""

import json

import pandas as pd
import pytest

from braindino.analysis.comparison.bench_table import BenchRun, bench_controls
from braindino.analysis.comparison.controls import COLUMNS, control_rows, control_text
from braindino.analysis.runs import runs_by_model
from tests.helpers.predictions import cells, segmentation, write_run


@pytest.fixture
def run(tmp_path):
    """A segmentation with a U-Net, and its folder."""
    table, baseline = (cells(segmentation, level=level) for level in (0.8, 0.7))
    path = write_run(tmp_path / "seg" / "large" / "1", table, "segmentation", baseline=baseline)
    results = json.loads((path / "results.json").read_text())
    results["baselines"] = {"unet": results["baselines"]["age_sex_site"]}
    (path / "results.json").write_text(json.dumps(results))
    return path


def test_control_rows_are_of_the_main_metric_only(run):
    rows = control_rows(runs_by_model([run]))
    assert {row["metric"] for row in rows} == {"dice"}
    assert len(rows) == len({row["fraction"] for row in rows})
    row = rows[-1]
    assert (row["model"], row["task"], row["baseline"]) == ("large", "seg", "unet")
    assert row["difference"] > 0
    assert row["low"] < row["difference"] < row["high"]
    assert control_rows(runs_by_model([run]), ("no_tokens",)) == []


def test_control_text_is_a_table_or_empty(run):
    table = bench_controls([BenchRun("seg", "large", run), BenchRun("seg", "later", run.parent / "none")])
    lines = control_text(table)
    assert lines[0] == "Each model against the baselines of its probe:"
    assert "unet" in lines[3]
    assert "+0.0" in lines[3]
    assert control_text(pd.DataFrame(columns=list(COLUMNS))) == []
