"""Test `cache: false`: predictions equal those of cached features; training and augmentation."""

import pytest
import torch
from torch import nn

from braindino.analysis.predictions import read_predictions
from braindino.encoders.base import Encoder
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.probing import (
    Augmentation,
    ClassificationHead,
    FrozenProbeModule,
    GatedAttentionPooling,
    LogisticHead,
    MeanPooling,
    Protocol,
    run_study,
)
from braindino.probing.data.cases import CaseFeatures, ProbeCases
from braindino.probing.data.online import CaseScans, encode_cases
from braindino.scans.preprocessing import decode

FAST = {"seeds": [0], "max_epochs": 8, "patience": 8, "resamples": 0, "baselines": False}


def probe(**options):
    return FrozenProbeModule("tiny", ClassificationHead(), **{"lr": 3e-3, **options})


def table_of(folder):
    return read_predictions(folder / "predictions.csv")


@pytest.mark.parametrize("pooling", [MeanPooling("attention"), GatedAttentionPooling(8)])
def test_run_study_gives_the_same_predictions_cached_and_in_the_loop(
    tmp_path, planted, encoder, make_trainer, pooling
):
    for name, cache in (("kept", True), ("loop", False)):
        module = probe(pooling=pooling, augment=cache)
        protocol = Protocol(cache=cache, **FAST)
        run_study(module, planted(), protocol, make_trainer, tmp_path / name, encoder)
    cached, loop = table_of(tmp_path / "kept"), table_of(tmp_path / "loop")
    assert (cached["case"] == loop["case"]).all()
    assert (cached["prob_AD"] - loop["prob_AD"]).abs().max() < 1e-3
    assert (cached["prob_AD"] != cached["prob_AD"].iloc[0]).any()


def test_case_scans_batches_hold_slices_and_their_mask(planted, encoder, tmp_path):
    data = planted()
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    scans = CaseScans(cases, data.store, encoder, encoder.embed_dim)
    (batch,) = scans.loader(torch.tensor([1, 0]), 4)
    assert batch["slices"].shape == (2, 2, 3, 4, 4)
    assert batch["mask"].all(dim=2).tolist() == [[True, True], [True, False]]
    assert batch["target"].tolist() == cases.target[[1, 0]].tolist()
    features = extract(encoder, data.store, cases.keys, tmp_path / "features")
    cached = CaseFeatures(cases, features, GatedAttentionPooling()).batch(torch.tensor([1, 0]))
    images = decode(batch["slices"], batch["scale"], batch["zero_point"])
    computed = encode_cases(encoder, images, batch["mask"], max_slices=2)
    torch.testing.assert_close(computed, cached["features"])
    orders = [[b["case"].tolist() for b in scans.loader(torch.arange(9), 4, shuffle=s)] for s in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


class Lazy(Encoder):
    """Average a slice, with gains of 0: blind to the planted rows until it is trained."""

    def __init__(self, contract):
        super().__init__()
        self.preprocessing, self.embed_dim, self.patch_size = contract, 4, None
        self.rows = nn.Linear(16, 3)
        nn.init.zeros_(self.rows.weight)

    def forward(self, slices):
        flat = slices.flatten(1)
        return torch.cat([flat.mean(1, keepdim=True), self.rows(flat)], dim=1)

    def patch_maps(self, slices, blocks):
        raise NotImplementedError


def test_run_study_unfreeze_trains_the_encoder(tmp_path, planted, encoder, make_trainer):
    lazy = Lazy(encoder.preprocessing)
    before = {name: value.clone() for name, value in lazy.state_dict().items()}
    scores = {}
    for unfreeze in (False, True):
        module = probe(unfreeze=unfreeze, encoder_lr=0.03, augment=False)
        folder = tmp_path / str(unfreeze)
        results = run_study(module, planted(), Protocol(cache=False, **FAST), make_trainer, folder, lazy)
        scores[unfreeze] = results["summary"][0]["test"]["metrics"]["auroc"]["value"]
    assert scores[False] < 0.8 < 0.95 < scores[True]
    assert all(torch.equal(value, before[name]) for name, value in lazy.state_dict().items())


def test_training_step_augments_by_the_seed(tmp_path, planted, encoder, make_trainer):
    changes = {
        "strong": Augmentation(shift=0.5, scale=0.5),
        "again": Augmentation(shift=0.5, scale=0.5),
        "no": False,
    }
    for name, augment in changes.items():
        run_study(
            probe(augment=augment),
            planted(),
            Protocol(cache=False, **FAST),
            make_trainer,
            tmp_path / name,
            encoder,
        )
    strong, again, no = (table_of(tmp_path / name) for name in changes)
    assert strong.equals(again)
    assert not strong["prob_AD"].equals(no["prob_AD"])


def test_check_options_refuses_settings_without_effect(tmp_path, planted, encoder, make_trainer):
    def run(module, **protocol):
        run_study(module, planted(), Protocol(**{**FAST, **protocol}), make_trainer, tmp_path, encoder)

    with pytest.raises(BraindinoError, match=r"model\.unfreeze: the encoder is trained in the loop"):
        run(probe(unfreeze=True))
    with pytest.raises(BraindinoError, match=r"model\.augment: slices change in the loop only"):
        run(probe(augment=False))
    with pytest.raises(BraindinoError, match="LogisticHead is solved on cached features"):
        run(FrozenProbeModule("tiny", LogisticHead()), cache=False)
    with pytest.raises(BraindinoError, match=r"model\.ema: LogisticHead is solved at once"):
        run(FrozenProbeModule("tiny", LogisticHead(), ema=0.9))
