"""Test that predictions.csv is read back exactly, and that errors name the case."""

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.predictions import (
    check_predictions,
    class_names,
    format_predictions,
    read_predictions,
)


def table(**changes):
    values = {
        "case": ["a", "b", "c"],
        "group": ["d:1", "d:2", "d:3"],
        "split": ["val", "test", "test"],
        "seed": 0,
        "fraction": 1.0,
        "target": ["0", "1", "1"],
        "prediction": ["1", "1", "0"],
        "prob_0": [0.1, 1 / 3, 0.9],
        "prob_1": [0.9, 2 / 3, 0.1],
        "site": ["NA", "", "x,y"],
        "age": [71.5, np.nan, 60.0],
    }
    return pd.DataFrame({**values, **changes})


def test_read_predictions_reads_back_exactly(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(format_predictions(table()))
    again = read_predictions(path)
    assert (again["prob_0"] == table()["prob_0"]).all()
    assert again["target"].tolist() == ["0", "1", "1"]
    assert again["site"].tolist() == ["NA", "", "x,y"]
    assert again["age"].isna().tolist() == [False, True, False]
    assert class_names(again) == ("0", "1")
    assert format_predictions(again) == path.read_text()


def test_read_predictions_reads_a_regression_exactly(tmp_path):
    frame = table(target=[60.5, 70.25, 80.0], prediction=[61.0, 0.1 + 0.2, 79.0]).drop(
        columns=["prob_0", "prob_1"]
    )
    path = tmp_path / "predictions.csv"
    path.write_text(format_predictions(frame))
    assert read_predictions(path)["prediction"].tolist() == [61.0, 0.1 + 0.2, 79.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"case": ["a", "b", "b"]}, "b occurs twice"),
        ({"group": ["d:1", "d:1", "d:2"]}, "d:1 is in two parts"),
        ({"prob_0": [0.5, 1 / 3, 0.9]}, "case a: the probabilities"),
        ({"prob_0": [np.nan, 1 / 3, 0.9]}, "case a: the probabilities"),
        ({"target": ["0", "1", "2"]}, "case c: target is none of 0, 1"),
    ],
)
def test_check_predictions_names_the_problem(changes, words):
    with pytest.raises(ValueError, match=words):
        check_predictions(table(**changes))


def test_read_predictions_names_the_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("case,target\na,1\n")
    with pytest.raises(ValueError, match=r"mine.csv: columns missing: group, split"):
        read_predictions(path)
    frame = table(target=[1, 2, np.inf], prediction=[1.0, 2.0, 3.0]).drop(columns=["prob_0", "prob_1"])
    with pytest.raises(ValueError, match="case c: target is no finite number"):
        check_predictions(frame)


def survival_table():
    names = ["p1", "p2", "p3"]
    known = {"case": names, "group": names, "split": "test", "seed": 0, "fraction": 1.0}
    return pd.DataFrame(
        {**known, "risk": [0.1 + 0.2, -1e-17, 3.0], "time": [1.0, 2.5, 0.0], "event": [1, 0, 1]}
    )


def test_read_predictions_reads_survival_exactly(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(format_predictions(survival_table()))
    back = read_predictions(path)
    assert back["risk"].tolist() == [0.1 + 0.2, -1e-17, 3.0]
    assert back["event"].tolist() == [1, 0, 1]
    assert format_predictions(back) == path.read_text()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("time", -1.0, "the time is negative"), ("event", 2, "neither 0 nor 1"), ("risk", np.nan, "risk is no")],
)
def test_format_predictions_rejects_impossible_survival(column, value, words):
    table = survival_table().astype({column: float})
    table.loc[1, column] = value
    with pytest.raises(ValueError, match=f"case p2: .*{words}"):
        format_predictions(table)


def test_format_predictions_names_missing_columns():
    with pytest.raises(ValueError, match="columns missing: event"):
        format_predictions(survival_table().drop(columns="event"))
