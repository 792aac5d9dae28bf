"""Test run_study: what it learns, its repeatability, its continuation, and its checks of people."""

import pandas as pd
import pytest

from braindino.analysis.predictions import read_predictions
from braindino.analysis.runs import Run
from braindino.errors import BraindinoError, CellError
from braindino.files import read_json
from braindino.probing import (
    ClassificationHead,
    DaysHead,
    FrozenProbeModule,
    GatedAttentionPooling,
    MeanPooling,
    Protocol,
    RegressionHead,
    results_table,
    run_study,
)
from braindino.probing.baselines.traits import traits_cell
from braindino.probing.cell import Cell
from braindino.probing.prepared_study import prepare_study
from braindino.probing.study import train_cells, write_results
from braindino.probing.study_cells import run_cells

FAST = {"max_epochs": 30, "patience": 5, "resamples": 200, "baselines": False}


def probe(head=None, **options):
    return FrozenProbeModule("tiny", head or ClassificationHead(), **{"lr": 3e-3, **options})


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_run_study_learns_planted_labels(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0, 1], fractions=[0.5, 1.0], **FAST)
    results = run_study(probe(), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    for line in results["summary"]:
        assert line["test"]["metrics"]["auroc"]["value"] > 0.97
        assert line["test"]["people"] == 18
    assert results["summary"][0]["train_cases"] == [27, 27]
    assert results["summary"][1]["train_cases"] == [54, 54]
    assert results["cells"][0]["confusion"][0][0] >= 5
    assert encoder.slices_seen == 3 * (180 - 13)  # each scan once, though four cells were trained
    table = read_predictions(tmp_path / "run" / "predictions.csv")
    assert table.groupby(["seed", "fraction", "split"]).size().eq(18).all()
    assert {"dataset", "site", "sex", "age"} <= set(table.columns)
    split = pd.read_csv(tmp_path / "run" / "cases.csv").set_index("case")["split"]
    assert split.value_counts()["train"] == 54
    assert (table["case"].map(split) == table["split"]).all()
    assert read_json(tmp_path / "run" / "results.json") == results
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    mean = metrics.query("seed == 'mean' and metric == 'test/auroc' and fraction == 1")
    assert mean["value"].item() == results["summary"][1]["test"]["metrics"]["auroc"]["value"]
    printed = results_table(results)
    assert "test/auroc" in printed
    assert "100%" in printed
    assert "18 test cases of 18 people" in printed


def test_run_study_is_at_chance_on_shuffled_labels(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0], **FAST)
    data = planted(people=150, shuffled=True)
    results = run_study(probe(), data, protocol, make_trainer, tmp_path / "run", encoder)
    auroc = results["summary"][0]["test"]["metrics"]["auroc"]
    assert auroc["low"] < 0.5 < auroc["high"]


@pytest.mark.parametrize("pooling", [GatedAttentionPooling(8, fusion="attention"), MeanPooling("concat")])
def test_run_study_learns_with_gaps_by_every_pooling(tmp_path, planted, encoder, make_trainer, pooling):
    protocol = Protocol(seeds=[0], **FAST)
    results = run_study(probe(pooling=pooling), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    assert results["summary"][0]["test"]["metrics"]["auroc"]["value"] > 0.9
    assert results["dropped"]["cases"] == 0


def test_run_study_can_drop_cases_with_gaps(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0], missing="drop", **FAST)
    results = run_study(probe(), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    assert results["dropped"] == {
        "scans": 1,
        "cases": 13,
        "reasons": {"no T2w (probe.missing: drop)": 13, "no T1w": 1},
    }
    table = pd.read_csv(tmp_path / "run" / "dropped.csv", keep_default_na=False)
    assert table.iloc[0].tolist() == ["a.nii", "made:000", "", "no T1w"]
    assert table.iloc[1].tolist() == ["", "", "case000", "no T2w (probe.missing: drop)"]
    assert len(table) == 14
    printed = results_table(results)
    assert (
        "Not used: 1 scans and 13 cases (13 no T2w (probe.missing: drop); 1 no T1w); dropped.csv" in printed
    )


def test_run_study_reports_regression_in_the_unit_of_the_target(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0], **{**FAST, "max_epochs": 80})
    data = planted(regression=True)
    results = run_study(probe(RegressionHead()), data, protocol, make_trainer, tmp_path / "run", encoder)
    metrics = results["summary"][0]["test"]["metrics"]
    assert metrics["r2"]["value"] > 0.6
    assert metrics["mae"]["value"] < 4
    assert "test/mae" in results_table(results)


def test_run_study_repeats_to_the_bit(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[3], fractions=[0.5, 1.0], **FAST)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        run_study(probe(), planted(), protocol, make_trainer, folder, encoder)
    assert files(first) == files(second)
    other = Protocol(seeds=[4], fractions=[1.0], **FAST)
    run_study(probe(), planted(), other, make_trainer, tmp_path / "third", encoder)
    one, two = (
        Cell(folder / "cells", seed, 1.0).read()[0] for folder, seed in ((first, 3), (tmp_path / "third", 4))
    )
    assert not (one["prob_AD"] == two["prob_AD"]).any()


def test_run_study_trains_no_finished_cell(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0, 1], **FAST)
    run = tmp_path / "run"
    run_study(probe(), planted(), protocol, make_trainer, run, encoder)
    before = files(run)

    def never(**overrides):
        raise AssertionError("a trainer was made")

    run_study(probe(), planted(), protocol, never, run, encoder)
    assert files(run) == before


def test_run_study_continues_after_an_interruption(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0, 1, 2], **FAST)
    whole, run = tmp_path / "whole", tmp_path / "run"
    run_study(probe(), planted(), protocol, make_trainer, whole, encoder)
    made = []

    def counted(**overrides):
        made.append(overrides)
        if len(made) == 4:  # the first is for the device; two cells are finished, the third is interrupted
            raise KeyboardInterrupt
        return make_trainer(**overrides)

    with pytest.raises(KeyboardInterrupt):
        run_study(probe(), planted(), protocol, counted, run, encoder)
    assert [Cell(run / "cells", seed, 1.0).done for seed in range(3)] == [True, True, False]
    finished = files(run / "cells")
    run_study(probe(), planted(), protocol, make_trainer, run, encoder)
    assert finished.items() <= files(run / "cells").items()
    assert files(run) == files(whole)


def test_run_study_with_fewer_seeds_includes_earlier_cells(tmp_path, planted, encoder, make_trainer):
    run = tmp_path / "run"
    many = Protocol(seeds=[0, 2], fractions=[0.5, 1.0], **FAST)
    first = run_study(probe(), planted(), many, make_trainer, run, encoder)
    before = (run / "predictions.csv").read_bytes()
    few = Protocol(seeds=[2], fractions=[1.0], **FAST)
    again = run_study(probe(), planted(), few, make_trainer, run, encoder)
    assert (run / "predictions.csv").read_bytes() == before
    assert again["summary"] == first["summary"]
    note = "3 results of earlier runs of this study in the same folder are included (seed 0 at 50%"
    assert note in results_table(again)
    assert "earlier runs" not in results_table(first)
    # Baselines asked for later stand beside all of them.
    later = Protocol(**{**FAST, "seeds": [1], "baselines": True})
    whole = run_study(probe(), planted(), later, make_trainer, run, encoder)
    assert [line["seeds"] for line in whole["baselines"]["age_sex_site"]["summary"]] == [[0, 2], [0, 1, 2]]
    assert [line["fraction"] for line in whole["baselines"]["age_sex_site"]["advantage"]] == [0.5, 1.0]


def test_run_study_refuses_the_folder_of_another_study(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0], **FAST)
    run_study(probe(), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    with pytest.raises(BraindinoError, match=r"another study \(model.lr: 0.003 there, 0.01 now\)"):
        run_study(probe(lr=0.01), planted(), protocol, make_trainer, tmp_path / "run", encoder)


def test_run_study_refuses_a_person_in_two_parts(tmp_path, planted, encoder, make_trainer):
    data = planted()
    data.cases.loc[data.cases["split"] == "test", "group"] = "made:000"
    with pytest.raises(BraindinoError, match=r"1 people are in more than one part.*made:000"):
        run_study(probe(), data, Protocol(**FAST), make_trainer, tmp_path / "run", encoder)


@pytest.mark.parametrize("shuffled", [False, True])
def test_run_study_reports_days(tmp_path, planted, encoder, make_trainer, shuffled):
    data = planted(people=150, regression=True, shuffled=shuffled)
    data.cases["target"] = (10.0 ** (data.cases["target"] / 10 - 4)).round()  # 10, 100, 1000
    protocol = Protocol(seeds=[0], **{**FAST, "max_epochs": 60})
    for name in ("first", "second"):
        results = run_study(probe(DaysHead()), data, protocol, make_trainer, tmp_path / name, encoder)
    pearson = results["summary"][0]["test"]["metrics"]["pearson"]
    assert (pearson["low"] > 0.6) != shuffled
    assert (pearson["low"] < 0 < pearson["high"]) == shuffled
    table = read_predictions(tmp_path / "first" / "predictions.csv")
    assert table["target"].max() > 500
    assert files(tmp_path / "first") == files(tmp_path / "second")


def test_run_study_reports_brain_age_by_band_and_corrected(tmp_path, planted, encoder, make_trainer):
    data = planted(people=150, regression=True)
    data.target = ("age",)
    data.cases["age"] = data.cases["target"]
    protocol = Protocol(seeds=[0, 1], **{**FAST, "max_epochs": 60})
    results = run_study(probe(RegressionHead()), data, protocol, make_trainer, tmp_path / "run", encoder)
    line = results["summary"][0]
    assert len(line["without_age_bias"]["slope"]) == 2
    assert line["without_age_bias"]["metrics"]["mae"]["value"] < 5
    bands = line["subgroups"]["age"]
    assert sum(band["cases"] for band in bands) == 30
    assert [group["group"] for group in line["subgroups"]["sex"]] == ["F", "M"]
    assert line["subgroups"]["dataset"][0]["metrics"] == {
        name: line["test"]["metrics"][name] for name in ("mae", "rmse", "r2", "pearson")
    }


def test_run_study_marks_selection_on_test(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0], selection="test", **FAST)
    data = planted(shuffled=True)
    results = run_study(probe(), data, protocol, make_trainer, tmp_path / "run", encoder)
    assert "WARNING: epoch chosen ON THE TEST PART" in results_table(results)
    honest = Protocol(seeds=[0], **FAST)
    other = run_study(probe(), data, honest, make_trainer, tmp_path / "honest", encoder)
    assert "WARNING" not in results_table(other)
    best = pd.read_csv(Cell(tmp_path / "run" / "cells", 0, 1.0).folder / "epochs.csv")["val/auroc"].max()
    auroc = results["summary"][0]["test"]["metrics"]["auroc"]["value"]
    assert auroc == pytest.approx(best, abs=1e-6)  # what is reported is what was maximised


def test_run_cells_continues_after_a_cell_that_fails(tmp_path):
    cells = [Cell(tmp_path / "cells", seed, 1.0) for seed in range(4)]
    rows = {"case": ["a"], "group": ["a"], "split": ["test"], "fraction": [1.0]}

    def run(cell):
        if cell.seed < 2:
            raise CellError(f"{cell.label}: no epoch had a finite validation loss.")
        table = pd.DataFrame({**rows, "seed": [cell.seed], "target": [1.0], "prediction": [1.0]})
        cell.write(table, {"train_cases": 1, "train_people": 1})

    with pytest.raises(BraindinoError, match=r"seed 0, fraction 1\.0: no epoch .*\n1 more cells failed"):
        run_cells(tmp_path, cells, run)
    assert [cell.done for cell in cells] == [False, False, True, True]


def test_run_study_writes_the_results_of_other_cells_before_it_names_those_that_failed(
    tmp_path, planted, encoder, make_trainer
):
    class Choosy(ClassificationHead):
        def build(self, width, train_target, classes):
            if len(train_target) < 40:
                raise BraindinoError("too few labelled cases.")
            super().build(width, train_target, classes)

    protocol = Protocol(seeds=[0, 1], fractions=[0.5, 1.0], **FAST)
    with pytest.raises(
        BraindinoError, match=r"(?s)seed 0, fraction 0\.5: too few .*1 more cells.*2 cells"
    ) as caught:
        run_study(probe(Choosy()), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    assert str(tmp_path / "run") in str(caught.value)
    results = read_json(tmp_path / "run" / "results.json")
    assert [line["fraction"] for line in results["summary"]] == [1.0]
    assert len(results["failed"]) == 2
    assert "WARNING: not trained: seed 0, fraction 0.5: too few labelled cases." in results_table(results)
    table = read_predictions(tmp_path / "run" / "predictions.csv")
    assert set(table["seed"]) == {0, 1}


def test_run_study_goes_on_without_a_baseline_that_fails(
    tmp_path, planted, encoder, make_trainer, monkeypatch
):
    def fail(*given):
        raise BraindinoError("the labelled cases are of one class.")

    monkeypatch.setattr("braindino.probing.baselines.training.traits_cell", fail)
    protocol = Protocol(seeds=[0], **{**FAST, "baselines": True})
    results = run_study(probe(), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    reason = "seed 0, fraction 1.0: the labelled cases are of one class."
    assert results["baselines_failed"] == {"age_sex_site": reason}
    assert f"No baseline age_sex_site: {reason}" in results_table(results)


def test_run_study_reports_the_finished_cells_of_a_baseline(
    tmp_path, planted, encoder, make_trainer, monkeypatch
):
    def choosy(cell, cases, task):
        if cell.fraction < 1 or cell.seed == 1:
            raise BraindinoError("the labelled cases are of one class.")
        traits_cell(cell, cases, task)

    monkeypatch.setattr("braindino.probing.baselines.training.traits_cell", choosy)
    protocol = Protocol(seeds=[0, 1], fractions=[0.5, 1.0], **{**FAST, "baselines": True})
    results = run_study(probe(), planted(), protocol, make_trainer, tmp_path / "run", encoder)
    baseline = results["baselines"]["age_sex_site"]
    assert [(line["fraction"], line["seeds"]) for line in baseline["summary"]] == [(1.0, [0])]
    (line,) = baseline["advantage"]
    tests = [results["cells"][2]["test"], baseline["summary"][0]["test"]]
    values = [test["metrics"]["auroc"]["value"] for test in tests]
    assert (line["fraction"], line["value"]) == (1.0, pytest.approx(values[0] - values[1]))
    reason = results["baselines_failed"]["age_sex_site"]
    assert [each.partition(":")[0] for each in reason.split("; ")] == [
        *("seed 0, fraction 0.5", "seed 1, fraction 0.5", "seed 1, fraction 1.0")
    ]
    text = results_table(results)
    assert "Incomplete baseline age_sex_site: seed 0, fraction 0.5: the labelled" in text
    assert "100%    probe less age_sex_site" in text
    assert "50%     probe less age_sex_site" not in text
    assert Run(tmp_path / "run").results == results


def test_run_study_refuses_an_empty_part(tmp_path, planted, encoder, make_trainer):
    data = planted()
    setup = data.setup

    def without_validation(stage=None):
        setup(stage)
        data.cases.loc[data.cases["split"] == "val", "split"] = "train"

    data.setup = without_validation
    with pytest.raises(BraindinoError, match=r"no case in val \(72 in train, 0 in val, 18 in test\)"):
        run_study(probe(), data, Protocol(seeds=[0], **FAST), make_trainer, tmp_path / "run", encoder)


def test_prepare_study_decides_everything_and_writes_nothing(tmp_path, planted, encoder, make_trainer):
    protocol = Protocol(seeds=[0, 1], fractions=[0.5, 1.0], recipe="paper", resamples=0, baselines=False)
    module = FrozenProbeModule("tiny", ClassificationHead())
    prepared = prepare_study(module, planted(), protocol, tmp_path / "run", encoder)
    assert not (tmp_path / "run").exists()
    assert (prepared.protocol.max_epochs, prepared.module.standardise) == (8, False)
    cells = [(cell.seed, cell.fraction) for cell in prepared.cells]
    assert cells == [(0, 0.5), (1, 0.5), (0, 1.0), (1, 1.0)]
    assert prepared.settings["encoder"] == encoder.digest
    trained = train_cells(prepared, make_trainer)
    assert read_json(tmp_path / "run" / "study.json") == prepared.settings
    assert (len(trained.facts), trained.failed, trained.baselines) == (4, [], {})
    results = write_results(prepared, trained)
    assert results == read_json(tmp_path / "run" / "results.json")
