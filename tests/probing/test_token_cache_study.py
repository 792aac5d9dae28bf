"""Test that a study gives the same results with cached tokens, with half of them, and without."""

import numpy as np
import pytest
from lightning.pytorch import Trainer

from braindino.analysis.predictions import read_predictions
from braindino.encoders.vit import ViTEncoder
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead, run_study
from braindino.probing.augmentation import Augmentation
from tests.helpers.interrupting import interrupted

FLIPS = Augmentation(flip=0.5, shift=0, scale=0, offset=0)
OPTIONS = {"seeds": [0], "max_epochs": 2, "patience": 2, "resamples": 0, "baselines": False}


def make_trainer(**overrides):
    return Trainer(accelerator="cpu", devices=1, **overrides)


def run(folder, data, encoder, cache, trainer=make_trainer, flips=True, **protocol):
    """Run a study and return its predictions.

    With `flips` slices are flipped in training and in the test, and decoded with their neighbours.
    """
    head = SegmentationHead(slices_per_case=4, image_size=[32, 32], neighbours=int(flips), test_flips=flips)
    module = FrozenProbeModule("tiny", head, lr=3e-3, augment=FLIPS if flips else False)
    run_study(module, data, Protocol(cache=cache, **{**OPTIONS, **protocol}), trainer, folder, encoder)
    return read_predictions(folder / "predictions.csv")


def check_close(first, second):
    """Raise AssertionError unless predictions are equal.

    Batches of another composition sum in another order, which may turn the last bit of a float16 and with it
    a voxel; on the machine that this was written on all numbers are equal.
    """
    assert first["case"].tolist() == second["case"].tolist()
    np.testing.assert_allclose(first["predicted_ml"], second["predicted_ml"], rtol=0.01, atol=0.02)
    np.testing.assert_allclose(first["dice"], second["dice"], atol=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cached")


@pytest.fixture
def done(folder, lesions, vit_encoder):
    """A folder with a finished study in `run` and its tokens; the first test that needs it trains it."""
    run(folder / "run", lesions(), vit_encoder, folder / "cache")
    return folder


def test_run_study_with_cached_tokens_equals_one_without(done, tmp_path, lesions, vit_encoder, monkeypatch):
    plain = run(tmp_path / "plain", lesions(), vit_encoder, tmp_path / "none", cache_gb=0)
    assert not (tmp_path / "none").exists()
    slices = []
    patch_maps = ViTEncoder.patch_maps

    def counting(self, images, blocks):
        slices.append(len(images))
        return patch_maps(self, images, blocks)

    cached = run(done / "run", lesions(), vit_encoder, done / "cache")
    monkeypatch.setattr(ViTEncoder, "patch_maps", counting)
    again = run(tmp_path / "again", lesions(), vit_encoder, done / "cache")
    assert slices == [4]  # for patches.npz alone
    check_close(plain, cached)
    assert again.equals(cached)
    size = sum(file.stat().st_size for file in (done / "cache").rglob("*.safetensors"))
    half = run(tmp_path / "half", lesions(), vit_encoder, tmp_path / "part", cache_gb=size / 2 / 1e9)
    assert 0 < sum(file.stat().st_size for file in (tmp_path / "part").rglob("*.safetensors")) <= size / 2
    check_close(plain, half)


def test_run_study_with_cached_tokens_is_continued_to_the_bit(
    done, tmp_path, lesions, vit_encoder, monkeypatch
):
    monkeypatch.setattr("braindino.probing.callbacks.EVERY", 0.0)
    monkeypatch.setattr("braindino.probing.callbacks.SHARE", 0.0)
    stopping = interrupted(make_trainer, 1)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "run", lesions(), vit_encoder, done / "cache", stopping)
    assert (tmp_path / "run/cells/seed0_fraction1.0/unfinished.ckpt").is_file()
    run(tmp_path / "run", lesions(), vit_encoder, done / "cache")
    for name in ("predictions.csv", "cells/seed0_fraction1.0/probe.pt", "study.json"):
        assert (tmp_path / "run" / name).read_bytes() == (done / "run" / name).read_bytes()


def test_run_study_without_augmentation_uses_cached_tokens(done, tmp_path, lesions, vit_encoder):
    options = {"flips": False, "max_epochs": 1}
    plain = run(tmp_path / "plain", lesions(), vit_encoder, tmp_path / "none", cache_gb=0, **options)
    cached = run(tmp_path / "run", lesions(), vit_encoder, done / "cache", **options)
    check_close(plain, cached)
