"""Test load_probe: predictions repeat, and files that do not fit are refused."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.files import read_json, write_json
from braindino.probing import (
    ClassificationHead,
    DaysHead,
    FrozenProbeModule,
    GatedAttentionPooling,
    KNNHead,
    LogisticHead,
    MeanPooling,
    Protocol,
    RegressionHead,
    RidgeHead,
    SegmentationHead,
    SurvivalHead,
    run_study,
)
from braindino.probing.cell_training import predict_part
from braindino.probing.data.cases import CaseFeatures, ProbeCases
from braindino.probing.heads.base import Head
from braindino.probing.predict.probe import _build, load_probe
from braindino.scans.contract import Preprocessing
from tests.helpers.planted import TinyEncoder
from tests.helpers.tiny_vit import checkpoint_of, tiny_encoder

FAST = {"max_epochs": 3, "resamples": 0, "baselines": False}


@pytest.fixture
def study(planted, encoder, make_trainer, tmp_path, monkeypatch):
    """Run a study and return its cases and features; its encoder has the name `tiny`."""
    monkeypatch.setattr("braindino.probing.predict.probe.load_encoder", lambda spec, contract: encoder)

    def run(head, data=None, seeds=(0,), fractions=(1.0,), **options):
        data = data or planted()
        protocol = Protocol(seeds=list(seeds), fractions=list(fractions), **FAST)
        run_study(
            FrozenProbeModule("tiny", head, **options),
            data,
            protocol,
            make_trainer,
            tmp_path / "run",
            encoder,
        )
        cases = ProbeCases.of(data, head, "mask")
        bank = extract(encoder, data.store, cases.keys, data.store.path / "features")
        return tmp_path / "run", cases, bank

    return run


@pytest.mark.parametrize(
    ("head", "options"),
    [
        (
            ClassificationHead(class_weights="balanced"),
            {"pooling": GatedAttentionPooling(8, fusion="attention")},
        ),
        (ClassificationHead(), {"pooling": MeanPooling("concat"), "standardise": False}),
        (LogisticHead(), {}),
        (KNNHead(), {}),
    ],
)
def test_load_probe_repeats_the_predictions_of_classes(study, head, options):
    agrees(*study(head, **options), "prob_AD")


@pytest.mark.parametrize("head", [RegressionHead(), DaysHead(), RidgeHead()])
def test_load_probe_repeats_the_predictions_of_numbers(study, planted, head):
    agrees(*study(head, planted(regression=True)), "prediction")


def test_load_probe_repeats_the_predictions_of_risks(study, planted_survival):
    agrees(*study(SurvivalHead(ties="breslow"), planted_survival(people=60)), "risk")


def agrees(run, cases, bank, column):
    probe = load_probe(run)
    ((cell, module),) = probe.modules.items()
    assert probe.label == ""
    written = cell.read()[0].query("split == 'test'")[column]
    data = CaseFeatures(cases, bank, module.pooling)
    again = predict_part(module, data, cases.part("test"), cell)[column]
    np.testing.assert_allclose(again, written, atol=1e-5)
    assert probe.modalities == ("T1w", "T2w")
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_load_probe_takes_all_seeds_of_the_largest_fraction(study):
    run, *_ = study(ClassificationHead(), seeds=(0, 3), fractions=(0.5, 1.0))
    probe = load_probe(run)
    assert (probe.fraction, probe.classes) == (1.0, ("CN", "MCI", "AD"))
    assert [cell.seed for cell in probe.modules] == [0, 3]
    assert probe.label == "mean of 2 probes (2 seeds)"
    (cell,) = load_probe(run, seed=3, fraction=0.5).modules
    assert (cell.seed, cell.fraction) == (3, 0.5)
    with pytest.raises(BraindinoError, match="no finished cell of fraction 1 and seed 1; there are seed 0"):
        load_probe(run, seed=1)


def test_load_probe_names_the_remedy_for_an_unfinished_probe(study, tmp_path):
    with pytest.raises(BraindinoError, match="no finished probe there"):
        load_probe(tmp_path)
    run, *_ = study(LogisticHead())
    file = run / "cells" / "seed0_fraction1.0" / "probe.pt"
    whole = file.read_bytes()
    file.unlink()
    with pytest.raises(BraindinoError, match=r"Remove .*seed0_fraction1.0 and run the same"):
        load_probe(run)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BraindinoError, match=r"probe.pt: damaged"):
        load_probe(run)
    torch.save({"state": {}}, file)
    with pytest.raises(BraindinoError, match=r"does not fit the head and pooling"):
        load_probe(run)
    torch.save({"state": TinyEncoder}, file)
    with pytest.raises(BraindinoError, match="could run any code and is refused"):
        load_probe(run)


def test_load_probe_refuses_classes_other_than_heads(study):
    run, *_ = study(LogisticHead())
    facts = read_json(run / "probe.json")
    write_json(run / "probe.json", {**facts, "head": {"class_path": "pathlib.Path", "init_args": {}}})
    with pytest.raises(BraindinoError, match=r"pathlib.Path: expected a Head"):
        load_probe(run, trust=["pathlib.Path"])
    with pytest.raises(BraindinoError, match=r"--trust-class pathlib.Path"):
        load_probe(run)
    write_json(run / "probe.json", {**facts, "head": {"class_path": "nowhere.Head", "init_args": {}}})
    with pytest.raises(BraindinoError, match=r"nowhere.Head: no such class"):
        load_probe(run, trust=["nowhere.Head"])


def test_build_makes_a_subclass_that_lacks_later_arguments_of_its_base(tmp_path):
    class Small(SegmentationHead):
        def __init__(self, slices_per_case=4):
            super().__init__(slices_per_case, decoder="paper")

    module = ModuleType("mine")
    module.Small = Small
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mine", module)
        record = {"class_path": "mine.Small", "init_args": {"slices_per_case": 8}}
        head = _build(record, Head, tmp_path, ["mine.Small"])
    assert isinstance(head, Small)
    assert head.slices_per_case == 8


def test_load_probe_finds_the_encoder_and_checks_its_digest(planted, make_trainer, tmp_path, monkeypatch):
    contract = Preprocessing(depth=3, size=(4, 4))
    encoders = []
    for seed in (0, 1):
        encoders.append(tiny_encoder(contract, seed, depth=1, patch_size=4))
        torch.save(checkpoint_of(encoders[-1]), tmp_path / f"encoder{seed}.ckpt")
    monkeypatch.chdir(tmp_path)
    module = FrozenProbeModule("encoder0.ckpt", RidgeHead())
    run_study(
        module,
        planted(regression=True),
        Protocol(seeds=[0], **FAST),
        make_trainer,
        tmp_path / "run",
        encoders[0],
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_probe(tmp_path / "run").encoder.digest == encoders[0].digest  # beside where the study ran
    with pytest.raises(BraindinoError, match="not the encoder that"):
        load_probe(tmp_path / "run", encoder=str(tmp_path / "encoder1.ckpt"))
    moved = tmp_path / "encoder0.ckpt"
    moved.rename(tmp_path / "moved.ckpt")
    with pytest.raises(BraindinoError, match="If the encoder has moved, give its folder: --encoder"):
        load_probe(tmp_path / "run")
    assert load_probe(tmp_path / "run", encoder=str(tmp_path / "moved.ckpt")).task == "regression"
