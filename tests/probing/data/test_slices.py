"""Test slices with masks: drawn by a seed with regions oversampled, ordered in evaluation."""

import numpy as np
import pytest
import torch

from braindino.datasets.grid_masks import grid_masks
from braindino.errors import BraindinoError
from braindino.probing import SegmentationHead
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.slices import CaseSlices, MaskedCases, SliceSampler
from braindino.scans.preprocessing import decode
from tests.helpers.lesions import EMPTY


@pytest.fixture
def data(lesions, vit_encoder):
    module = lesions({"rim": [1], "core": [2]}, ("T1w", "FLAIR"))
    module.prepare_data()
    module.setup()
    head = SegmentationHead(slices_per_case=40, foreground=0.5)
    cases = ProbeCases.of(module, head, "mask")
    assert cases.classes == ("rim", "core")
    return CaseSlices(MaskedCases(cases, module, grid_masks(module)[0]), vit_encoder, head)


def test_case_slices_loader_yields_every_slice_with_its_mask(data):
    batches = list(data.loader(torch.tensor([2, 0]), 5))
    assert [len(batch["case"]) for batch in batches] == [5, 5, 5, 1]
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    assert whole["case"].tolist() == [2] * 8 + [0] * 8
    assert whole["slice"].tolist() == [*range(8), *range(8)]
    masked = data.masked
    for row in range(16):
        case, number = int(whole["case"][row]), int(whole["slice"][row])
        for m, key in enumerate(masked.keys[case]):
            assert (whole["slices"][row, m].numpy() == masked.store.slice(key, number)).all()
            assert (whole["scale"][row, m], whole["zero_point"][row, m]) == pytest.approx(masked.scales[key])
        assert (whole["target"][row].numpy() == masked.datamodule.mask_of(masked.rows[case])[number]).all()
    # The lesion is bright in FLAIR: image and mask lie on each other.
    flair = decode(whole["slices"], whole["scale"], whole["zero_point"])[:, masked.modalities.index("FLAIR")]
    lesion = whole["target"] > 0
    assert flair[lesion].mean() > flair[(flair != 0) & ~lesion].mean() + 1.5


def test_slice_sampler_repeats_by_seed_and_varies_by_epoch(data):
    cases = list(range(6))
    one, other = SliceSampler(data, cases, 16, seed=3), SliceSampler(data, cases, 16, seed=3)
    first, second = list(one), list(one)
    assert first == list(other)
    assert first != second
    assert [len(batch) for batch in first] == [16] * 15
    assert len(one) == 15
    assert SliceSampler(data, cases, 16, seed=4).__iter__().__next__() != first[0]


def test_slice_sampler_oversamples_regions(data):
    cases = [case for case in range(20) if data.masked.masks[case].present[:, 2].any()][:10]
    holding = [data.masked.masks[case].present[:, 2] for case in cases]
    share = np.mean(
        [h[slice(*(data.masked.spans[c] + [0, 1]))].mean() for c, h in zip(cases, holding, strict=True)]
    )
    drawn = [place for batch in SliceSampler(data, cases, 16, 0) for place in batch]
    drawn_share = np.mean([data.masked.masks[case].present[i, 2] for case, i in drawn])
    # Half of the draws are forced, and half of these by the core; the rim's slices hold the core at times.
    assert drawn_share > 0.25 + 0.5 * share
    assert all(first <= i <= last for case, i in drawn for first, last in [data.masked.spans[case]])


def test_slice_sampler_draws_any_slice_of_a_case_without_a_lesion(data):
    names = data.masked.cases.table["case"]
    (empty,) = [i for i, name in enumerate(names) if name.endswith(f"p{EMPTY:02d}")]
    assert not data.masked.masks[empty].present[:, 1:].any()
    assert len(list(SliceSampler(data, [empty], 8, 0))) == 5


def hard_sampler(data, cases, share=0.5, foreground=0.5):
    data.head = SegmentationHead(slices_per_case=40, foreground=foreground, hard_empty=share)
    return SliceSampler(data, cases, 16, seed=3)


def occupied(data, case):
    return data.masked.masks[case].present[:, 1:].any(axis=1)


def test_slice_sampler_draws_as_before_without_hard_empty(data):
    before = list(SliceSampler(data, [0, 1, 2], 16, seed=3))
    assert SliceSampler(data, [0, 1, 2], 16, seed=3).hard_slices is None
    after = list(hard_sampler(data, [0, 1, 2], share=0))
    assert before == after


def test_slice_sampler_draws_hard_empty_slices_by_their_false_pixels(data):
    cases = [0, 1, 2]
    sampler = hard_sampler(data, cases)
    hard = sampler.hard_slices
    for case in cases:
        empty = np.flatnonzero(~occupied(data, case))
        assert set(hard.slices[case]) == set(empty) & set(data.span(case))
    drawn = [place for batch in sampler for place in batch]
    is_empty = [not occupied(data, case)[number] for case, number in drawn]
    # Half from regions, half from slices without one.
    assert 0.35 < np.mean(is_empty) < 0.65
    chosen = hard.slices[1][-1]
    hard.counts[1][chosen] = 1000
    of_case = [n for b in sampler for case, n in b if case == 1 and not occupied(data, 1)[n]]
    assert np.mean(np.array(of_case) == chosen) > 0.95
    # All of a case whose slices all have a region, or none, is drawn as without hard_empty.
    hard.slices[2] = hard.slices[2][:0]
    assert sum(case == 2 for batch in sampler for case, _ in batch) == 40


def test_slice_sampler_draws_hard_slices_of_a_case_without_a_lesion(data):
    names = data.masked.cases.table["case"]
    (empty,) = [i for i, name in enumerate(names) if name.endswith(f"p{EMPTY:02d}")]
    sampler = hard_sampler(data, [empty], share=1, foreground=0)
    sampler.hard_slices.counts[empty][4] = 10**6
    drawn = [number for batch in sampler for _, number in batch]
    assert len(drawn) == 40
    assert np.mean(np.array(drawn) == 4) > 0.95


def test_masked_cases_digest_depends_on_masks_and_regions(data, lesions):
    before = data.masked.digest
    other = lesions({"rim": [2], "core": [1]}, ("T1w", "FLAIR"))
    other.prepare_data()
    other.setup()
    cases = ProbeCases.of(other, SegmentationHead(), "mask")
    assert MaskedCases(cases, other, grid_masks(other)[0]).digest != before


def test_masked_cases_refuses_scans_of_different_depth(data, monkeypatch):
    masked = data.masked
    table = masked.store.index()
    table.loc[table["key"] == masked.keys[0][1], "depth"] = 9
    monkeypatch.setattr(type(masked.store), "index", lambda self: table)
    with pytest.raises(BraindinoError, match="its scans have 8 and 9 slices; to be segmented"):
        MaskedCases(masked.cases, masked.datamodule, dict(zip(masked.rows, masked.masks, strict=True)))
