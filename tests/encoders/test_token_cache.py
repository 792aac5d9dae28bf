"""Test the cache of patch tokens: its entries, what it refuses, and its reader."""

import pickle

import numpy as np
import pytest
import torch

from braindino.encoders.cache import FALLBACK_FOLDER
from braindino.encoders.token_cache import CachedTokens, TokenCache, distinct_slices
from braindino.errors import BraindinoError, NotFiniteError
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import tiny_encoder

KEY = "ab" + "0" * 62


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(Preprocessing(depth=4, size=(16, 16)))


@pytest.fixture
def cache(tmp_path, encoder):
    return TokenCache(tmp_path / "features", encoder, [0, 1], (16, 16))


def tokens_of(cache, count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *cache.shape)).astype(np.float16)


def test_token_cache_reads_the_row_of_each_slice(cache):
    assert cache.shape == (96, 2, 2)
    assert cache.read(KEY) is None
    tokens = tokens_of(cache)
    cache.write(KEY, tokens, np.array([0, 1, 0]))
    entry = cache.read(KEY)
    assert len(entry) == 3
    assert [torch.equal(entry[i], torch.from_numpy(tokens[row])) for i, row in enumerate((0, 1, 0))] == [
        True
    ] * 3
    assert cache.size() == cache.path(KEY).stat().st_size
    assert 2 * cache.slice_bytes < cache.size() < 2 * cache.slice_bytes + 300


def test_token_cache_keeps_settings_apart(tmp_path, cache, encoder):
    cache.write(KEY, tokens_of(cache), np.array([0, 1]))
    assert cache.read(KEY, mirrored=True) is None
    root = tmp_path / "features"
    for blocks, size, precision in (([1], (16, 16), "float32"), ([0, 1], (32, 32), "float32")):
        assert TokenCache(root, encoder, blocks, size, precision).read(KEY) is None
    assert TokenCache(root, encoder, [0, 1], (16, 16), "bfloat16").read(KEY) is None
    other = tiny_encoder(encoder.preprocessing, seed=1)
    assert TokenCache(root, other, [0, 1], (16, 16)).read(KEY) is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_token_cache_counts_a_truncated_entry_as_absent(cache, share):
    cache.write(KEY, tokens_of(cache), np.array([0, 1]))
    content = cache.path(KEY).read_bytes()
    cache.path(KEY).write_bytes(content[: int(share * len(content))])
    assert cache.read(KEY) is None


def test_token_cache_counts_an_entry_of_another_shape_as_absent(cache):
    cache.write(KEY, tokens_of(cache)[:, :5], np.array([0, 1]))
    assert cache.read(KEY) is None
    cache.write(KEY, tokens_of(cache), np.array([0, 2]))
    assert cache.read(KEY) is None
    cache.write(KEY, tokens_of(cache).astype(np.float32), np.array([0, 1]))
    assert cache.read(KEY) is None


def test_token_cache_refuses_tokens_that_are_not_finite(cache):
    with pytest.raises(NotFiniteError, match="not finite as float16; its weights are damaged"):
        cache.write(KEY, np.full((1, *cache.shape), np.inf, np.float16), np.array([0]))
    assert not cache.path(KEY).exists()


def test_token_cache_of_a_read_only_store_writes_to_the_current_folder(tmp_path, encoder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("braindino.encoders.cache.can_write", lambda folder: False)
    cache = TokenCache(tmp_path / "features", encoder, [0, 1], (16, 16))
    cache.write(KEY, tokens_of(cache), np.array([0, 1]))
    assert cache.path(KEY).is_relative_to(tmp_path / FALLBACK_FOLDER)
    assert cache.read(KEY) is not None
    assert cache.size() == cache.path(KEY).stat().st_size


def test_cached_tokens_open_their_files_again_in_another_process(cache):
    tokens = tokens_of(cache)
    cache.write(KEY, tokens, np.array([0, 1]))
    reader = CachedTokens(cache, [KEY])
    first = reader.slice(KEY, 1)
    assert torch.equal(pickle.loads(pickle.dumps(reader)).slice(KEY, 1), first)
    cache.path(KEY).unlink()
    assert torch.equal(reader.slice(KEY, 1), first)  # still mapped
    with pytest.raises(BraindinoError, match=r"0\.safetensors was deleted or damaged since; start again"):
        CachedTokens(cache, [KEY]).slice(KEY, 1)


def test_distinct_slices_shares_equal_ones():
    slices = np.zeros((5, 3, 3), np.uint8)
    slices[2:4] = [[[1]], [[2]]]
    numbers, rows = distinct_slices(slices)
    assert numbers.tolist() == [0, 2, 3]
    assert rows.tolist() == [0, 0, 1, 2, 0]
