"""Test the baselines: age, sex and site, and an untrained encoder; and the report of their results."""

import numpy as np
import pytest

from braindino.probing import (
    ClassificationHead,
    FrozenProbeModule,
    Protocol,
    RegressionHead,
    results_table,
    run_study,
)
from braindino.probing.baselines.traits import known_traits, traits_cell
from braindino.probing.cell import Cell
from braindino.probing.data.cases import ProbeCases
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import tiny_encoder


def test_traits_cell_uses_traits_that_predict_the_label(planted, tmp_path):
    data = planted()
    label = data.cases["target"]
    data.cases["age"] = 50.0 + 10 * label
    data.cases.loc[label == 2, "age"] = np.nan  # its absence is a feature, too
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    assert known_traits(cases) == ["age", "sex"]
    cell = Cell(tmp_path, 0, 1.0)
    traits_cell(cell, cases, "classification")
    table, facts = cell.read()
    assert (table["target"] == table["prediction"]).all()
    assert set(table["split"]) == {"val", "test"}
    assert facts["train_people"] == 54


def test_traits_cell_predicts_a_number_from_site_alone(planted, tmp_path):
    data = planted(regression=True)
    data.target = ("age",)
    data.cases["site"] = np.where(data.cases["target"] > 60, "old", "young")
    data.cases.loc[data.cases["split"] == "test", "site"] = "unseen"
    cases = ProbeCases.of(data, RegressionHead(), "mask")
    assert known_traits(cases) == ["sex", "site"]  # not the target itself
    cell = Cell(tmp_path, 0, 0.5)
    traits_cell(cell, cases, "regression")
    table, _ = cell.read()
    val = table[table["split"] == "val"]
    assert np.corrcoef(val["target"], val["prediction"])[0, 1] > 0.7
    assert (
        table.loc[table["split"] == "test", "prediction"].nunique() <= 2
    )  # by sex: the site was not in training


def test_untrained_encoder_has_the_same_shape_and_other_weights():
    contract = Preprocessing(depth=3, size=(16, 16))
    encoder = tiny_encoder(contract, seed=3, embed_dim=24, depth=1, patch_size=4, init_values=0.1)
    twin = encoder.untrained()
    assert twin.preprocessing == contract
    assert {k: v.shape for k, v in twin.state_dict().items()} == {
        k: v.shape for k, v in encoder.state_dict().items()
    }
    assert twin.digest != encoder.digest
    assert twin.digest == encoder.untrained().digest
    assert not twin.training


@pytest.mark.parametrize("shuffled", [False, True])
def test_results_table_reports_a_baseline_that_is_not_beaten(
    planted, encoder, make_trainer, tmp_path, shuffled
):
    data = planted(people=120, shuffled=shuffled)
    protocol = Protocol(seeds=[0], max_epochs=20, patience=5, resamples=200)
    module = FrozenProbeModule("tiny", ClassificationHead(), lr=3e-3)
    results = run_study(module, data, protocol, make_trainer, tmp_path / "run", encoder)
    assert list(results["baselines"]) == ["age_sex_site"]
    line = results["baselines"]["age_sex_site"]["advantage"][0]
    assert line["beaten"] is not shuffled
    assert (
        "At 100% of the labels the probe does not beat age_sex_site" in results_table(results)
    ) == shuffled
