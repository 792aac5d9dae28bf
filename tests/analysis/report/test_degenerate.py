"""Test that predictions with undefined metrics give a blank with its reason in every table, not an error."""

import json

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.report.page import build_page, render, table_files
from braindino.analysis.results import metrics_table
from braindino.analysis.runs import runs_by_model
from braindino.probing.table import results_table
from tests.helpers.predictions import cells, classification, regression, segmentation, survival, write_run


def _test_rows(table):
    return table["split"] == "test"


def _one_class(table):
    return table[~_test_rows(table) | (table["target"] == "CN")]


def _set(**columns):
    """Set columns of the test part."""

    def change(table):
        table = table.copy()
        for name, value in columns.items():
            table[name] = table[name].where(~_test_rows(table), value).astype(table[name].dtype)
        return table

    return change


def _one_person(table):
    tested = table[_test_rows(table)]
    return pd.concat([table[~_test_rows(table)], tested[tested["group"] == tested["group"].iloc[0]]])


def _equal_probabilities(table):
    names = [name for name in table if name.startswith("prob_")]
    return table.assign(prediction="CN", **dict.fromkeys(names, 1 / len(names)))


def _one_late_event(table):
    tested = _test_rows(table)
    late = table["case"] == table.loc[tested, "case"].iloc[-1]
    time = table["time"].where(~tested, 10.0).mask(late & tested, 5000.0)
    event = table["event"].where(~tested, 0).mask(late & tested, 1)
    return table.assign(time=time, event=event)


def _all_alike(**columns):
    return lambda table: table.assign(**columns)


def _empty_truth(table):
    return table.assign(true_ml=0.0, dice=np.nan, hd95=np.nan)


def _empty_prediction(table):
    return table.assign(predicted_ml=0.0, dice=0.0, hd95=np.nan)


CASES = {
    "one class": (classification, _one_class, {"auroc": "all cases are CN"}),
    "one person": (classification, _one_person, {"auroc": "all cases are"}),
    "equal probabilities": (classification, _equal_probabilities, {}),
    "no age": (classification, _all_alike(age=np.nan, sex="", site=""), {}),
    "one person's age": (regression, _one_person, {"r2": "one case", "pearson": "one case"}),
    "equal ages": (regression, _set(target=60.0), {"r2": "the target is the same in all cases"}),
    "all ages equal": (regression, _all_alike(target=60.0), {"pearson": "the target is the same"}),
    "equal predictions": (
        regression,
        _all_alike(prediction=60.0),
        {"pearson": "the prediction is the same in all cases"},
    ),
    "no event in test": (survival, _set(event=0), {"c_index": "no event", "td_auc": "no event"}),
    "no event": (survival, _all_alike(event=0), {"c_index": "no event", "integrated_brier": "no event"}),
    "no censoring": (survival, _all_alike(event=1), {}),
    "one late event": (survival, _one_late_event, {"c_index": "no two cases can be compared"}),
    "equal times": (survival, _all_alike(time=7.0, event=1), {"c_index": "no two cases can be compared"}),
    "equal times of test": (survival, _set(time=7.0, event=1), {"c_index": "no two cases can be compared"}),
    "times of zero": (survival, _all_alike(time=0.0), {"integrated_brier": "follow-up"}),
    "equal risks": (survival, _all_alike(risk=0.3), {}),
    "one person at risk": (survival, _one_person, {"c_index": ""}),
    "empty truth": (segmentation, _empty_truth, {"dice": "no case has", "hd95": "no case has"}),
    "empty prediction": (segmentation, _empty_prediction, {"hd95": "no case has"}),
    "one case": (segmentation, _one_person, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_results_of_degenerate_predictions_are_blank_with_a_reason(tmp_path, name):
    make, change, undefined = CASES[name]
    table = change(cells(make)).reset_index(drop=True)
    kind = make.__name__
    target = {"regression": "age", "survival": "days"}.get(kind, "label")
    run = write_run(tmp_path / kind / "encoder" / "1", table, kind, target, resamples=40, baseline=table)
    results = json.loads((run / "results.json").read_text())
    json.dumps(results, allow_nan=False)
    test = results["summary"][0]["test"]
    for metric, reason in undefined.items():
        assert test["metrics"][metric]["value"] is None, metric
        assert reason in test["undefined"][metric]
    blank = {metric for metric, numbers in test["metrics"].items() if numbers["value"] is None}
    assert blank == set(test["undefined"])
    assert all(test["undefined"].values())
    text = results_table(results)
    assert "nan" not in text.lower().split()
    if any(metric in text for metric in undefined):
        assert "Undefined: " in text
    assert len(metrics_table(results))
    page = build_page(runs_by_model([tmp_path]), 20, "Degenerate")
    assert ">nan<" not in render(page).lower()
    assert table_files(page)
