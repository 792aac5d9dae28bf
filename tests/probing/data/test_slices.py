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
