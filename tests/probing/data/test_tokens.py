"""Test which tokens are cached, how far the space reaches, and that batches with them equal computed ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindino.datasets.grid_masks import grid_masks
from braindino.encoders.token_cache import TokenCache
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead
from braindino.probing.augmentation import Augmentation
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.slices import CaseSlices, MaskedCases
from braindino.probing.data.tokens import cached_tokens, flip_of, why_not_cached
from braindino.probing.module import _mirrored

FLIPS = Augmentation(flip=0.5, shift=0, scale=0, offset=0)


@pytest.fixture(scope="module")
def session():
    """Return the masked cases of the module's tests, made by the first one."""
    return {}


@pytest.fixture
def masked(session, lesions):
    if not session:
        data = lesions({"rim": [1], "core": [2]}, ("T1w", "FLAIR"))
        data.prepare_data()
        data.setup()
        cases = ProbeCases.of(data, SegmentationHead(), "mask")
        session["masked"] = MaskedCases(cases, data, grid_masks(data)[0])
    return session["masked"]


def probe(augment=False, unfreeze=False, **options):
    options = {"image_size": [32, 32], **options}
    module = FrozenProbeModule("tiny", SegmentationHead(**options), augment=augment, unfreeze=unfreeze)
    module.head.resolve((32, 32), 8)
    return module


def fill(masked, encoder, folder, module=None, **protocol):
    options = Protocol(cache=folder, **protocol)
    return cached_tokens(encoder, module or probe(), masked.cases, masked, options)


def keys_of(masked):
    return {key for keys in masked.keys for key in keys if key}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"augment": True}, "changes slices before the encoder"),
        ({"augment": Augmentation()}, "changes slices before the encoder"),
        ({"unfreeze": True}, "the encoder is trained"),
        ({"decoder": "paper"}, "the decoder paper fuses modalities"),
        ({"decoder": "unet", "image_size": None}, "uses no tokens"),
        ({"use_tokens": False}, "uses no tokens"),
    ],
)
def test_why_not_cached_names_what_changes_the_tokens(options, reason):
    assert reason in why_not_cached(probe(**options))


def test_flip_of_is_that_of_an_augmentation_by_flips_alone():
    assert why_not_cached(probe()) == why_not_cached(probe(augment=FLIPS)) == ""
    assert flip_of(probe()) == 0
    assert flip_of(probe(augment=replace(FLIPS, flip=0.3))) == 0.3
    assert flip_of(probe(augment=Augmentation())) == 0
    assert flip_of(probe(augment=FLIPS, decoder="paper")) == 0


@pytest.mark.parametrize(
    "options", [{"decoder": "unet", "image_size": None}, {"use_tokens": False}, {"unfreeze": True}]
)
def test_flip_of_does_not_depend_on_the_use_of_tokens(options):
    assert flip_of(probe(augment=FLIPS, **options)) == FLIPS.flip


def test_cached_tokens_computes_every_scan_once(masked, vit_encoder, tmp_path, monkeypatch):
    reader = fill(masked, vit_encoder, tmp_path)
    assert reader.keys == keys_of(masked)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == len(reader.keys)
    # Empty slices share a row.
    assert len(reader.cache.read(min(reader.keys))) == 8
    damaged = min(files)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    computed = []
    write = TokenCache.write
    monkeypatch.setattr(
        TokenCache, "write", lambda self, key, *rest: (computed.append(key), write(self, key, *rest))
    )
    assert fill(masked, vit_encoder, tmp_path).keys == reader.keys
    assert computed == [damaged.stem]


@pytest.mark.parametrize("options", [{"cache_gb": 0}, {"cache": False}])
def test_cached_tokens_caches_nothing_if_switched_off(masked, vit_encoder, tmp_path, options):
    protocol = Protocol(**{"cache": tmp_path, **options})
    assert cached_tokens(vit_encoder, probe(), masked.cases, masked, protocol) is None
    assert not list(tmp_path.iterdir())


def test_cached_tokens_reports_why_none_is_cached(masked, vit_encoder, tmp_path, capsys):
    protocol = Protocol(cache=tmp_path)
    module = probe(augment=True)
    assert cached_tokens(vit_encoder, module, masked.cases, masked, protocol, progress=True) is None
    assert "tokens are not cached: model.augment changes slices before the encoder" in capsys.readouterr().err


def test_cached_tokens_stops_at_the_given_space_after_validation(masked, vit_encoder, tmp_path, caplog):
    whole = fill(masked, vit_encoder, tmp_path / "whole").cache.size()
    reader = fill(masked, vit_encoder, tmp_path / "half", cache_gb=whole / 2 / 1e9)
    size = reader.cache.size()
    assert 0.3 * whole < size <= whole / 2
    assert f"tokens of {len(reader.keys)} of 40 scans are cached" in caplog.text
    cases = masked.cases.part("val").index
    assert {key for case in cases for key in masked.keys[case]} <= reader.keys
    # What lies on disk counts: the same space takes no further scan.
    assert fill(masked, vit_encoder, tmp_path / "half", cache_gb=whole / 2 / 1e9).keys == reader.keys
    assert reader.cache.size() == size
    assert fill(masked, vit_encoder, tmp_path / "half").keys == keys_of(masked)


def test_cached_tokens_continues_after_an_interrupt(masked, vit_encoder, tmp_path, monkeypatch):
    written = []
    write = TokenCache.write

    def stopping(self, key, *rest):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(key)
        write(self, key, *rest)

    monkeypatch.setattr(TokenCache, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        fill(masked, vit_encoder, tmp_path)
    assert {path.stem for path in tmp_path.rglob("*.safetensors")} == set(written)
    monkeypatch.setattr(TokenCache, "write", write)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert fill(masked, vit_encoder, tmp_path).keys == keys_of(masked)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


@pytest.mark.parametrize("neighbours", [0, 1])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_case_slices_with_cached_tokens_equal_those_without(masked, vit_encoder, tmp_path, neighbours, share):
    module = probe(augment=FLIPS, neighbours=neighbours, test_flips=True, slices_per_case=4)
    reader = fill(masked, vit_encoder, tmp_path, module)
    if share < 1:
        reader.keys = frozenset(sorted(reader.keys)[::2])
    missing = masked.keys[0][0]
    masked.keys[0][0] = ""  # a case without T1w
    try:
        datas = [
            CaseSlices(masked, vit_encoder, module.head, tokens=tokens, flip=flip_of(module))
            for tokens in (reader, None)
        ]
        module.build(datas[1], torch.arange(4), ("rim", "core"))
        for shuffle in (3, None):
            pairs = zip(*(data.loader(torch.arange(6), 12, shuffle) for data in datas), strict=True)
            for cached, plain in pairs:
                assert cached["tokens"].dtype == torch.float16
                assert all(torch.equal(cached[name], value) for name, value in plain.items())
                batches = [module._with_images(batch) for batch in (cached, plain)]
                check_equal(module, *batches)
                if shuffle is None:
                    check_equal(module, *map(_mirrored, batches))
    finally:
        masked.keys[0][0] = missing


def check_equal(module, cached, plain):
    first, second = (module._tokens(batch) for batch in (cached, plain))
    torch.testing.assert_close(first, second, rtol=2e-3, atol=2e-3)
    assert (first == second).float().mean() > 0.99


def test_slice_sampler_draws_the_same_slices_with_and_without_flips(masked, vit_encoder):
    head = SegmentationHead(slices_per_case=8)
    plain, flipping = (
        CaseSlices(masked, vit_encoder, head, flip=flip).loader(torch.arange(10), 16, 0).batch_sampler
        for flip in (0.0, 0.5)
    )
    for _ in range(2):
        drawn, flipped = list(plain), list(flipping)
        assert drawn == [[index[:2] for index in batch] for batch in flipped]
        share = np.mean([index[2] for batch in flipped for index in batch])
        assert 0.3 < share < 0.7
    # The flips follow from the random state, which a continued cell restores.
    state = flipping.random.bit_generator.state
    again = list(flipping)
    flipping.random.bit_generator.state = state
    assert list(flipping) == again


def test_case_slices_mirrors_slices_with_their_masks(masked, vit_encoder):
    data = CaseSlices(masked, vit_encoder, SegmentationHead(slices_per_case=8), flip=1.0)
    batch = next(iter(data.loader(torch.arange(4), 8, 0)))
    assert batch["flipped"].all()
    for row in range(8):
        case, number = int(batch["case"][row]), int(batch["slice"][row])
        stored = masked.store.slice(masked.keys[case][1], number)
        assert (batch["slices"][row, 1].numpy() == stored[:, ::-1]).all()
        assert (batch["target"][row].numpy() == masked.masks[case].slice(number)[:, ::-1]).all()


def test_cached_tokens_of_bfloat16_are_computed_and_read_under_autocast(masked, vit_encoder, tmp_path):
    module = probe(neighbours=1)
    reader = fill(masked, vit_encoder, tmp_path, precision="bfloat16")
    cached, plain = (CaseSlices(masked, vit_encoder, module.head, tokens=tokens) for tokens in (reader, None))
    module.build(plain, torch.arange(2), ("rim", "core"))
    with torch.autocast("cpu", torch.bfloat16):
        for batches in zip(*(data.loader(torch.arange(2), 8) for data in (cached, plain)), strict=True):
            first, second = (module._tokens(module._with_images(batch)) for batch in batches)
            # A different order of sums may turn the last of the three digits of a bfloat16.
            torch.testing.assert_close(first, second, rtol=0.05, atol=0.1)


def test_case_slices_reads_cached_tokens_in_worker_processes(masked, vit_encoder, tmp_path, monkeypatch):
    module = probe(slices_per_case=2)
    reader = fill(masked, vit_encoder, tmp_path)
    data = CaseSlices(masked, vit_encoder, module.head, tokens=reader)
    (here,) = data.loader(torch.arange(2), 16)
    assert here["cached"].all()
    monkeypatch.setattr(masked, "workers", 1)
    (other,) = data.loader(torch.arange(2), 16)
    assert torch.equal(here["tokens"], other["tokens"])
