"""Extraction and the feature cache: numbers, repeated calls, damaged entries."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from braindino.encoders.base import Encoder
from braindino.encoders.cache import FeatureCache
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode

CONTRACT = Preprocessing(depth=None, size=(8, 8))


class TinyEncoder(Encoder):
    def __init__(self, seed=0, preprocessing=CONTRACT):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(64, 6)
        self.preprocessing, self.embed_dim, self.patch_size = preprocessing, 6, None
        self.batches = []

    def forward(self, slices):
        self.batches.append(len(slices))
        return self.layer(slices.flatten(1))

    def patch_maps(self, slices, blocks):
        raise NotImplementedError


class TinyVolumeEncoder(TinyEncoder):
    """Encode the mean slice of a scan by the layer, plus the length of the modality's name."""

    dimensions = 3

    def forward(self, slices, modalities):
        self.batches.append(len(slices))
        assert slices.shape[1:] == (1, 5, 8, 8)
        return self.layer(slices.mean(dim=(1, 2)).flatten(1)) + torch.tensor([[len(m)] for m in modalities])


class MemoryStore:
    """Scans of unequal depth, each with its own scale and zero_point."""

    def __init__(self, depths=(5, 9, 3, 16, 7), contract=CONTRACT):
        rng = np.random.default_rng(0)
        self.contract = contract
        self.arrays = {
            f"{index:02d}scan": rng.integers(0, 255, size=(depth, 8, 8), dtype=np.uint8)
            for index, depth in enumerate(depths)
        }
        self.reads = []

    def index(self):
        rows = [
            (key, len(array), 0.01 * (row + 1), 100 + row)
            for row, (key, array) in enumerate(self.arrays.items())
        ]
        table = pd.DataFrame(rows, columns=["key", "depth", "scale", "zero_point"])
        return table.assign(modality=["T1w", "FLAIR"] * (len(table) // 2) + ["T1w"] * (len(table) % 2))

    def slices(self, key):
        self.reads.append(key)
        return self.arrays[key]

    @property
    def keys(self):
        return list(self.arrays)


@torch.no_grad()
def directly(encoder, store, key):
    row = store.index().set_index("key").loc[key]
    return encoder(torch.from_numpy(decode(store.arrays[key], row["scale"], row["zero_point"])).unsqueeze(1))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_extract_gives_each_scan_its_features(tmp_path, batch_size):
    encoder, store = TinyEncoder(), MemoryStore()
    features = extract(encoder, store, store.keys, tmp_path, batch_size=batch_size)
    assert encoder.batches == [batch_size] * (40 // batch_size) + [40 % batch_size] * (40 % batch_size > 0)
    assert list(features) == store.keys
    for key in store.keys:
        assert features[key].dtype == torch.float32
        torch.testing.assert_close(features[key], directly(encoder, store, key))


@pytest.mark.parametrize("batch_size", [1, 10, 1000])
def test_extract_3d_gives_one_vector_per_scan_and_passes_modalities(tmp_path, batch_size):
    encoder, store = TinyVolumeEncoder(), MemoryStore(depths=(5, 5, 5))
    features = extract(encoder, store, store.keys, tmp_path, batch_size=batch_size)
    assert encoder.batches == {1: [1, 1, 1], 10: [2, 1], 1000: [3]}[batch_size]
    index = store.index().set_index("key")
    for key in store.keys:
        row = index.loc[key]
        volume = torch.from_numpy(decode(store.arrays[key], row["scale"], row["zero_point"]))[None, None]
        with torch.no_grad():
            expected = encoder(volume, [row["modality"]])
        torch.testing.assert_close(features[key], expected)
    assert len(list(tmp_path.glob("*/scan-float32/*/*.npy"))) == 3
    again = TinyVolumeEncoder()
    assert list(extract(again, store, store.keys, tmp_path)) == store.keys
    assert again.batches == []


def test_extract_computes_only_what_is_missing(tmp_path):
    encoder, store = TinyEncoder(), MemoryStore()
    first = extract(encoder, store, store.keys[:3], tmp_path)
    before = {key: first[key].clone() for key in first}
    encoder.batches.clear()
    store.reads.clear()
    again = extract(encoder, store, [*store.keys, store.keys[0]], tmp_path)
    assert store.reads == store.keys[3:]
    assert len(again) == 5
    assert all(torch.equal(again[key], before[key]) for key in before)
    with pytest.raises(KeyError):
        first[store.keys[4]]


def test_extract_separates_weights_and_precisions(tmp_path):
    store = MemoryStore()
    one = extract(TinyEncoder(seed=0), store, store.keys, tmp_path)
    other = extract(TinyEncoder(seed=1), store, store.keys, tmp_path)
    half = extract(TinyEncoder(seed=0), store, store.keys, tmp_path, precision="bfloat16")
    key = store.keys[0]
    assert not torch.allclose(one[key], other[key])
    assert half[key].dtype == torch.float16
    torch.testing.assert_close(half[key].float(), one[key], atol=0.05, rtol=0.05)


def test_extract_computes_a_truncated_entry_again(tmp_path):
    encoder, store = TinyEncoder(), MemoryStore()
    features = extract(encoder, store, store.keys, tmp_path)
    key = store.keys[1]
    expected = features[key].clone()
    path = features.cache.path(key)
    path.write_bytes(path.read_bytes()[:-8])
    assert features.cache.read(key) is None
    with pytest.raises(BraindinoError, match="damaged"):
        features[key]
    store.reads.clear()
    again = extract(encoder, store, store.keys, tmp_path)
    assert store.reads == [key]
    torch.testing.assert_close(again[key], expected)


def test_extract_rejects_a_store_of_another_contract_showing_both(tmp_path):
    store = MemoryStore(contract=CONTRACT.replace(size=(8, 16)))
    with pytest.raises(BraindinoError, match=r"size: \[8, 8\] here, \[8, 16\] there"):
        extract(TinyEncoder(), store, store.keys, tmp_path)


def test_extract_raises_errors_of_the_reading_thread(tmp_path):
    encoder, store = TinyEncoder(), MemoryStore()
    with pytest.raises(BraindinoError, match="1 scans are not in the store, the first is nowhere"):
        extract(encoder, store, ["nowhere"], tmp_path)

    def broken(key):
        raise OSError("disk gone")

    store.slices = broken
    with pytest.raises(OSError, match="disk gone"):
        extract(encoder, store, store.keys, tmp_path)


def test_extract_rejects_features_that_are_not_finite(tmp_path):
    encoder, store = TinyEncoder(), MemoryStore()
    nn.init.constant_(encoder.layer.bias, float("nan"))
    with pytest.raises(BraindinoError, match="not finite"):
        extract(encoder, store, store.keys, tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_extract_skips_scans_that_are_not_finite(tmp_path):
    encoder, store = TinyEncoder(), MemoryStore()
    whole, bad = extract(encoder, store, store.keys, tmp_path / "a"), store.keys[1]
    decoded = store.slices

    def with_nan(key):
        values = np.array(decoded(key), dtype=np.float16)
        if key == bad:
            values[-1, 0, 0] = np.nan
        return values

    store.slices = with_nan
    features = extract(encoder, store, store.keys, tmp_path / "b", batch_size=3, skip_non_finite=True)
    assert list(features) == [key for key in store.keys if key != bad]
    for key in features:
        np.testing.assert_allclose(features[key], whole[key], atol=1e-6)


def _fill(folder, turn):
    torch.set_num_threads(1)
    store = MemoryStore(depths=(6,) * 20)
    turn.wait()
    features = extract(TinyEncoder(), store, store.keys, folder, batch_size=8)
    assert len([features[key] for key in features]) == 20


def test_extract_fills_one_cache_from_several_processes(tmp_path):
    context = multiprocessing.get_context("spawn")
    turn = context.Barrier(2)
    workers = [context.Process(target=_fill, args=(tmp_path, turn)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    encoder, store = TinyEncoder(), MemoryStore(depths=(6,) * 20)
    cache = FeatureCache(tmp_path, encoder)
    for key in store.keys:
        torch.testing.assert_close(torch.from_numpy(cache.read(key)), directly(encoder, store, key))
    assert not list(tmp_path.rglob("*.tmp"))


def test_extract_slice_patch_has_the_mean_patch_beside_cls(tmp_path):
    class WithPatches(TinyEncoder):
        def patch_maps(self, slices, blocks):
            assert list(blocks) == [-1]
            return [slices.expand(-1, 6, -1, -1)]

    store, encoder = MemoryStore(), WithPatches()
    encoder.patch_size = 1
    plain = extract(encoder, store, store.keys, tmp_path)
    both = extract(encoder, store, store.keys, tmp_path, level="slice_patch")
    for row, key in enumerate(store.keys):
        assert torch.equal(both[key][:, :6], plain[key])
        z = decode(store.arrays[key].astype(np.float32), 0.01 * (row + 1), 100 + row)
        np.testing.assert_allclose(both[key][:, 6], z.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    with pytest.raises(BraindinoError, match="TinyEncoder has no patch tokens beside"):
        extract(TinyEncoder(), store, store.keys, tmp_path, level="slice_patch")


def test_feature_cache_of_a_read_only_store_writes_to_the_current_folder(tmp_path, monkeypatch):
    encoder = TinyEncoder()
    root, here = tmp_path / "store" / "features", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    values = np.ones((2, encoder.embed_dim), np.float32)
    FeatureCache(root, encoder).write("ab1", values)
    honest = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: "store" not in Path(p).parts and honest(p, mode))
    cache = FeatureCache(root, encoder)
    cache.write("ab2", 2 * values)
    assert [float(cache.read(key)[0, 0]) for key in ("ab1", "ab2")] == [1, 2]
    assert cache.path("ab1").is_relative_to(root)
    assert cache.path("ab2").is_relative_to(here / "braindino_features")
    assert cache.read("ab3") is None
