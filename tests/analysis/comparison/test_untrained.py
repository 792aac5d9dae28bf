"""Test the table of models against untrained networks, which comes from the baselines of their runs."""

import json

import pandas as pd
import pytest

from braindino.analysis.comparison.untrained import (
    COLUMNS,
    UNTRAINED,
    results_by_task,
    untrained_rows,
    untrained_text,
)
from braindino.analysis.runs import runs_by_model
from tests.helpers.predictions import cells, regression, write_run


@pytest.fixture
def models(tmp_path):
    for name, noise in (("large", 3.0), ("small", 6.0)):
        table, baseline = cells(regression, noise=noise), cells(regression, noise=9.0)
        run = write_run(tmp_path / "age" / name / "1", table, "regression", "age", baseline=baseline)
        results = json.loads((run / "results.json").read_text())
        (untrained,) = results["baselines"].values()
        results |= {"baselines": {UNTRAINED: untrained} if name == "large" else {}, "unit": "years"}
        (run / "results.json").write_text(json.dumps(results))
    return runs_by_model([tmp_path])


def test_untrained_rows_come_from_the_baseline_of_the_run(models):
    (row,) = untrained_rows(models)
    results = models["large"]["age"].results
    assert (row["model"], row["metric"], row["heading"]) == ("large", "mae", "mae (years)")
    assert row["value"] == results["summary"][0]["test"]["metrics"]["mae"]["value"]
    assert row["untrained"] - row["value"] == pytest.approx(-row["difference"])
    assert set(results_by_task(models)) == {"age"}


def test_untrained_text_is_a_table_or_empty(models):
    lines = untrained_text(pd.DataFrame(untrained_rows(models), columns=list(COLUMNS)))
    assert "same network without training" in lines[0]
    assert "mae (years)" in lines[3]
    assert untrained_text(pd.DataFrame(columns=list(COLUMNS))) == []
