"""Models against the same network untrained, from the baselines of their own runs."""

import json

import pytest

from braindino.analysis.comparison.untrained import UNTRAINED, results_by_task, untrained_rows, untrained_text
from braindino.analysis.runs import runs_by_model
from tests.helpers.predictions import cells, regression, write_run


@pytest.fixture
def sides(tmp_path):
    for name, noise in (("large", 3.0), ("small", 6.0)):
        run = write_run(
            tmp_path / "age" / name / "1", cells(regression, noise=noise), "regression", "age",
            baseline=cells(regression, noise=9.0),
        )  # fmt: skip
        results = json.loads((run / "results.json").read_text())
        (twin,) = results["baselines"].values()
        results |= {"baselines": {UNTRAINED: twin} if name == "large" else {}, "unit": "years"}
        (run / "results.json").write_text(json.dumps(results))
    return runs_by_model([tmp_path])


def test_twin_rows_are_those_of_the_runs_own_baseline(sides):
    (row,) = untrained_rows(sides)
    results = sides["large"]["age"].results
    assert (row["model"], row["metric"], row["heading"]) == ("large", "mae", "mae (years)")
    assert row["value"] == results["summary"][0]["test"]["metrics"]["mae"]["value"]
    assert row["untrained"] - row["value"] == pytest.approx(-row["difference"])
    assert set(results_by_task(sides)) == {"age"}


def test_twin_text_is_a_table_or_nothing(sides):
    lines = untrained_text(untrained_rows(sides))
    assert "same network untrained" in lines[0]
    assert "mae (years)" in lines[3]
    assert untrained_text([]) == []
