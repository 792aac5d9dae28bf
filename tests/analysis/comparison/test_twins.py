"""Models against the same network untrained, from the baselines of their own runs."""

import json

import pytest

from braindino.analysis.comparison.twins import TWIN, results_of, twin_rows, twin_text
from braindino.analysis.runs import sides_of
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
        results |= {"baselines": {TWIN: twin} if name == "large" else {}, "unit": "years"}
        (run / "results.json").write_text(json.dumps(results))
    return sides_of([tmp_path])


def test_twin_rows_are_those_of_the_runs_own_baseline(sides):
    (row,) = twin_rows(sides)
    results = sides["large"]["age"].results
    assert (row["model"], row["metric"], row["heading"]) == ("large", "mae", "mae (years)")
    assert row["value"] == results["summary"][0]["test"]["metrics"]["mae"]["value"]
    assert row["untrained"] - row["value"] == pytest.approx(-row["difference"])
    assert set(results_of(sides)) == {"age"}


def test_twin_text_is_a_table_or_nothing(sides):
    lines = twin_text(twin_rows(sides))
    assert "same network untrained" in lines[0]
    assert "mae (years)" in lines[3]
    assert twin_text([]) == []
