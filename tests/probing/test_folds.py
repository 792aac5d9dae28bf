"""Test cross-validation: every person is tested once, folds are pooled, and studies are continued."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.metrics.estimates import estimate
from braindino.analysis.predictions import align_risks, read_predictions
from braindino.datasets.pretraining.exclude import find_excluded
from braindino.errors import BraindinoError
from braindino.files import read_json
from braindino.probing import (
    ClassificationHead,
    CoxNetHead,
    FrozenProbeModule,
    LogisticHead,
    Protocol,
    RidgeHead,
    results_table,
    run_study,
)
from braindino.probing.cell import Cell
from braindino.probing.predict.predictor import predict_cases
from braindino.probing.predict.probe import load_probe

FAST = {"max_epochs": 8, "patience": 8, "resamples": 100, "baselines": False}


def test_run_study_with_folds_tests_every_person_once(tmp_path, planted, encoder, make_trainer):
    run = tmp_path / "run"
    module = FrozenProbeModule("tiny", ClassificationHead(), lr=3e-3)
    protocol = Protocol(seeds=[0, 1], fractions=[1.0], **FAST)
    results = run_study(module, planted(folds=3), protocol, make_trainer, run, encoder)
    table = read_predictions(run / "predictions.csv")
    tested = table[(table["split"] == "test") & (table["seed"] == 0)]
    assert sorted(tested["case"]) == [f"case{index:03d}" for index in range(90)]
    for _, cell in table.groupby(["seed", "fold"]):
        parts = cell.groupby("split")["group"].agg(set)
        assert not parts["val"] & parts["test"]
        assert parts.map(len).tolist() == [30, 30]
    assert [(cell["seed"], cell["fold"]) for cell in results["cells"]] == [
        (seed, fold) for seed in (0, 1) for fold in range(3)
    ]
    (line,) = results["summary"]
    assert line["test"]["people"] == line["test"]["cases"] == 90
    assert line["seeds"] == [0, 1]
    pooled = estimate([table.query("split == 'test' and seed == @seed") for seed in (0, 1)], 100)
    assert line["test"]["metrics"] == pooled["metrics"]
    assert np.sum([one["confusion"] for one in line["pooled"]]) == 180
    each = [cell["test"]["metrics"]["accuracy"]["value"] for cell in results["cells"]]
    folds = [np.mean(each[fold::3]) for fold in range(3)]
    assert line["folds"]["accuracy"]["values"] == pytest.approx(folds)
    assert line["folds"]["accuracy"]["mean"] == pytest.approx(np.mean(folds))
    assert line["folds"]["accuracy"]["sd"] == pytest.approx(np.std(folds, ddof=1))
    printed = results_table(results)
    assert "sd of auroc over folds" in printed
    assert "90 test cases of 90 people, each tested in one of 3 folds, mean of 2 seeds" in printed
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics.query("metric == 'test/auroc' and seed == '1'")["fold"].tolist() == [0, 1, 2]
    # All of them are judged, so pretraining must see none of them.
    scans = pd.DataFrame({"group": ["made:000", "made:044", "made:100"], "path": ""})
    assert find_excluded(run / "cases.csv", scans).rows.tolist() == [True, True, False]


def test_predict_cases_averages_the_probes_of_all_folds(
    tmp_path, planted, encoder, make_trainer, monkeypatch
):
    monkeypatch.setattr("braindino.probing.predict.probe.load_encoder", lambda spec, contract: encoder)
    run, data = tmp_path / "run", planted(folds=3)
    module, protocol = FrozenProbeModule("tiny", LogisticHead()), Protocol(seeds=[0, 1], **FAST)
    run_study(module, data, protocol, make_trainer, run, encoder)
    probe = load_probe(run)
    assert [(cell.seed, cell.fold) for cell in probe.modules] == [(s, f) for s in (0, 1) for f in range(3)]
    assert probe.label == "mean of 6 probes (2 seeds x 3 folds)"
    assert [cell.fold for cell in load_probe(run, seed=1).modules] == [0, 1, 2]
    asked = {row["case"]: {"T1w": row["key_T1w"]} for row in data.cases.head(2).to_dict("records")}
    together = dict(predict_cases(probe, asked, data.store))
    each = []
    for cell, one in probe.modules.items():
        alone = dict(predict_cases(replace(probe, modules={cell: one}), asked, data.store))
        each.append([answer.columns["prob_AD"] for answer in alone.values()])
    means = [answer.columns["prob_AD"] for answer in together.values()]
    np.testing.assert_allclose(means, np.mean(each, axis=0), atol=1e-6)
    # A seed without all folds is not used.
    (run / "cells" / "seed1_fraction1.0_fold2" / "cell.json").unlink()
    assert {cell.seed for cell in load_probe(run).modules} == {0}
    with pytest.raises(BraindinoError, match="no finished cell of fraction 1 and seed 1; there are seed 0"):
        load_probe(run, seed=1)
    # New scans are compared with all cases: each is a training case of two of the three folds.
    assert read_json(run / "training_scans.json")["T1w"]["scans"] == 90


def test_run_study_with_folds_continues_and_counts_complete_seeds_only(
    tmp_path, planted, encoder, make_trainer
):
    run, made = tmp_path / "run", []
    module = FrozenProbeModule("tiny", LogisticHead())

    class Stopped(LogisticHead):
        def solve(self, *given):
            made.append(0)
            if len(made) == 5:
                raise KeyboardInterrupt
            return super().solve(*given)

    Stopped.__name__ = "LogisticHead"
    stopping, both = FrozenProbeModule("tiny", Stopped()), Protocol(seeds=[0, 1], **FAST)
    with pytest.raises(KeyboardInterrupt):
        run_study(stopping, planted(folds=3), both, make_trainer, run, encoder)
    assert len(list(run.glob("cells/*/cell.json"))) == 4
    assert [(cell.seed, cell.fold) for cell in Cell.finished(run / "cells", 3)] == [(0, 0), (0, 1), (0, 2)]
    first = run_study(module, planted(folds=3), Protocol(seeds=[0], **FAST), make_trainer, run, encoder)
    assert first["summary"][0]["seeds"] == [0]
    again = run_study(stopping, planted(folds=3), both, make_trainer, run, encoder)
    assert len(made) == 7  # two cells were missing
    assert again["summary"][0]["seeds"] == [0, 1]


def test_run_study_aligns_the_risks_of_folds(tmp_path, planted_survival, encoder, make_trainer):
    run = tmp_path / "run"
    module = FrozenProbeModule("tiny", CoxNetHead())
    protocol = Protocol(**{**FAST, "baselines": True, "seeds": [0]})
    data = planted_survival(folds=3)
    results = run_study(module, data, protocol, make_trainer, run, encoder)
    (line,) = results["summary"]
    assert line["test"]["people"] == 150
    assert line["test"]["metrics"]["c_index"]["low"] > 0.6
    assert line["pooled"][0]["kaplan_meier"]["logrank"]["p"] < 1e-3
    assert results["baselines"]["age_sex_site"]["advantage"][0]["beaten"]
    raw = read_predictions(run / "predictions.csv")
    shifted = raw.assign(risk=raw["risk"] + 10.0 * raw["fold"])
    for table in (align_risks(raw), align_risks(shifted)):
        medians = table[table["split"] == "train"].groupby("fold")["risk"].median()
        np.testing.assert_allclose(medians, 0, atol=1e-9)
    test = align_risks(shifted).query("split == 'test'")
    assert estimate([test], 0)["metrics"]["c_index"]["value"] == line["test"]["metrics"]["c_index"]["value"]


def test_run_study_corrects_brain_age_per_fold(tmp_path, planted, encoder, make_trainer):
    data = planted(folds=3, regression=True)
    data.target = ("age",)
    module, protocol = FrozenProbeModule("tiny", RidgeHead()), Protocol(**{**FAST, "seeds": [0]})
    results = run_study(module, data, protocol, make_trainer, tmp_path / "run", encoder)
    corrected = results["summary"][0]["without_age_bias"]
    assert len(corrected["slope"]) == 3
    assert corrected["metrics"]["mae"]["value"] > 0


def test_folds_below_three_are_refused(tmp_path, planted, encoder, make_trainer):
    module = FrozenProbeModule("tiny", LogisticHead())
    with pytest.raises(BraindinoError, match="the val part of the split has no cases"):
        run_study(module, planted(folds=2), Protocol(**FAST), make_trainer, tmp_path / "run", encoder)


def test_run_study_with_one_fold_has_no_fold_column(tmp_path, planted, encoder, make_trainer):
    data = planted(folds=3)
    data.fold = 0
    module, protocol = FrozenProbeModule("tiny", LogisticHead()), Protocol(**{**FAST, "seeds": [0]})
    results = run_study(module, data, protocol, make_trainer, tmp_path / "run", encoder)
    assert results["folds"] is None
    assert results["summary"][0]["test"]["people"] == 30
    assert "fold" not in read_predictions(tmp_path / "run" / "predictions.csv")
