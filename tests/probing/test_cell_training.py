"""Test one cell: its predictions are those of the best epoch."""

import copy

import pandas as pd
import pytest
import torch

from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.probing import ClassificationHead, FrozenProbeModule, Protocol
from braindino.probing.cell import Cell
from braindino.probing.cell_training import predict_part, train_cell
from braindino.probing.data.cases import CaseFeatures, ProbeCases


@pytest.fixture
def prepared(planted, encoder, tmp_path):
    data = planted(shuffled=True)  # so that the best epoch is not the last
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    features = extract(encoder, data.store, cases.keys, tmp_path / "features")
    module = FrozenProbeModule("tiny", ClassificationHead(), lr=0.01)
    return module, cases, CaseFeatures(cases, features, module.pooling)


def test_train_cell_predicts_with_the_best_epoch(prepared, make_trainer, tmp_path, monkeypatch):
    module, cases, bank = prepared
    seen = []
    step = FrozenProbeModule.on_validation_epoch_end

    def remember(self):
        step(self)
        seen.append({name: value.clone() for name, value in self.state_dict().items()})

    monkeypatch.setattr(FrozenProbeModule, "on_validation_epoch_end", remember)
    cell = Cell(tmp_path, 0, 1.0)
    train_cell(cell, module, cases, bank, Protocol(max_epochs=12, patience=12), make_trainer)
    table, facts = cell.read()
    epochs = pd.read_csv(cell.folder / "epochs.csv")
    order = epochs.sort_values(["val/auroc", "val/loss"], ascending=[False, True])
    assert facts["epoch"] == order["epoch"].iloc[0] < 11
    assert len(epochs) == 12
    again = copy.deepcopy(module)
    again.build(bank, torch.arange(9), cases.classes)
    again.load_state_dict(seen[facts["epoch"]])
    expected = predict_part(again, bank, cases.part("test"), cell)
    got = table[table["split"] == "test"].reset_index(drop=True)
    assert (got["prob_AD"] == expected["prob_AD"]).all()
    assert epochs["train/loss"].iloc[-1] < epochs["train/loss"].iloc[0]


def test_train_cell_reports_a_loss_that_is_not_finite(prepared, make_trainer, tmp_path):
    module, cases, bank = prepared
    bank.features[0] = torch.nan
    with pytest.raises(BraindinoError, match=r"no epoch had a finite validation loss.\nLower model.lr"):
        train_cell(Cell(tmp_path, 0, 1.0), module, cases, bank, Protocol(max_epochs=2), make_trainer)
    assert not Cell(tmp_path, 0, 1.0).done


def test_train_cell_restores_the_random_state(prepared, make_trainer, tmp_path):
    module, cases, bank = prepared
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_cell(Cell(tmp_path, 0, 1.0), module, cases, bank, Protocol(max_epochs=1), make_trainer)
    assert torch.rand(1) == expected
