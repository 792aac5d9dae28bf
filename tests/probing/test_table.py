"""The table that is printed: every number where it belongs, every caveat in words."""

from braindino.probing.table import results_table

ESTIMATE = {"value": 0.8712, "low": 0.7, "high": 0.95, "sd": None}


def results(**changes):
    metrics = dict.fromkeys(("auroc", "balanced_accuracy", "accuracy", "f1"), ESTIMATE)
    summary = [
        {
            "fraction": 0.25,
            "seeds": [0],
            "subgroups": {},
            "test": {"cases": 40, "people": 30, "resamples": 1000, "redrawn": 0, "metrics": metrics},
        }
    ]
    audit = {"shared_scans": [], "shared_scans_across_parts": 0, "pretraining": {"people": 0, "test": 0}}
    base = {
        "task": "classification",
        "classes": ["CN", "AD"],
        "summary": summary,
        "cells": [],
        "folds": None,
        "asked": {"seeds": [0], "fractions": [0.25]},
        "dropped": {"scans": 0, "cases": 0, "reasons": {}},
        "audit": audit,
        "baselines": {},
        "selection": "on validation",
    }
    return {**base, **changes}


def test_results_table_of_a_single_seed():
    lines = results_table(results()).splitlines()
    assert lines[0].split() == [
        "labels",
        "model",
        "test/auroc",
        "test/balanced_accuracy",
        "test/accuracy",
        "test/f1",
    ]
    assert lines[1].startswith("25%     probe  0.871 [0.700, 0.950]")
    assert lines[2] == "40 test cases of 30 people, 95 % intervals from resampling people."
    assert len(lines) == 3


def test_results_table_of_seeds_baselines_and_caveats():
    reasons = {f"reason {number}": 5 - number for number in range(5)}
    content = results(dropped={"scans": 12, "cases": 3, "reasons": reasons})
    content["summary"][0]["seeds"] = [0, 1]
    metrics = content["summary"][0]["test"]["metrics"]
    metrics["auroc"] = {"value": 0.5, "low": None, "high": None, "sd": 0.0123}
    metrics["f1"] = {"value": None, "low": None, "high": None, "sd": None}
    advantage = {
        "fraction": 0.25,
        "metric": "auroc",
        "value": 0.01,
        "low": -0.1,
        "high": 0.1,
        "beaten": False,
    }
    content["baselines"] = {"age_sex_site": {"summary": content["summary"], "advantage": [advantage]}}
    content["audit"].update(shared_scans_across_parts=2, pretraining={"people": 7, "test": 1})
    text = results_table(content)
    assert "sd of auroc over seeds" in text
    assert "0.012" in text
    assert "undefined" in text
    assert "mean of 2 seeds" in text
    named = "5 reason 0; 4 reason 1; 3 reason 2; and 2 more reasons"
    assert f"Not used: 12 scans and 3 cases ({named}); dropped.csv lists them." in text
    earlier = "1 results of earlier runs of this study in the same folder are included (seed 1 at 25%"
    assert earlier in text
    assert "WARNING: 2 scans occur in several parts" in text
    assert "WARNING: the encoder was pretrained on 7 of these people, 1 in test." in text
    content["audit"].update(pretraining={"people": 7, "test": 0})
    assert "\nThe encoder was pretrained on 7 of these people, none of them in test.\n" in results_table(
        content
    )
    assert "does not beat age_sex_site: difference in test/auroc 0.010 [-0.100, 0.100]." in text
    assert "25%     age_sex_site" in text


def test_results_table_has_a_line_per_group():
    group = {"people": 20, "cases": 25, "too_small": False, "metrics": {"auroc": ESTIMATE}}
    content = results()
    few = {**group, "group": "few", "people": 3, "too_small": True, "metrics": None}
    sites = [{**group, "group": f"s{number}"} for number in range(8)]
    alone = [{**group, "group": "made"}]
    sexes = [{**group, "group": "F"}, {**group, "group": "M"}]
    content["summary"][0]["subgroups"] = {"sex": sexes, "site": [*sites, few], "dataset": alone}
    content["summary"][0]["without_age_bias"] = {"metrics": {"mae": ESTIMATE}}
    content["cells"] = [
        {"fraction": 0.25, "kaplan_meier": {"logrank": test}} for test in ({"p": 0.0123}, None)
    ]
    text = results_table(content)
    assert "test/auroc by sex: F 0.871 [0.700, 0.950] of 20; M 0.871 [0.700, 0.950] of 20.\n" in text
    assert (
        "s5 0.871 [0.700, 0.950] of 20; 2 more in results.json; 1 groups of fewer than 10 people.\n" in text
    )
    assert "by dataset" not in text
    assert "as fitted on validation: test/mae 0.871 [0.700, 0.950].\n" in text
    assert "Above and below the training median risk: log-rank p 0.012, undefined (each seed).\n" in text
