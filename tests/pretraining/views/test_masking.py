"""Masks: the published counts exactly, in blocks, and equal for equal seeds."""

import numpy as np
import torch

from braindino.pretraining.views.masking import MaskConfig, Masks, sample_masks


def draw(
    crops: int, grid: tuple[int, int] = (16, 16), seed: int = 0, config: MaskConfig | None = None
) -> Masks:
    return sample_masks(crops, grid, config or MaskConfig(), np.random.default_rng(seed))


def test_sample_masks_masks_half_the_crops_with_the_published_counts() -> None:
    masks = draw(20)
    counts = masks.mask.sum(1)
    expected = [int(256 * r + 1e-9) for r in np.linspace(0.1, 0.5, 11)[1:]]
    assert sorted(counts[counts > 0].tolist()) == expected
    assert (counts == 0).sum() == 10


def test_sample_masks_indices_and_weights_belong_to_the_masked_patches() -> None:
    masks = draw(7, (4, 6))
    assert torch.equal(masks.mask.flatten().nonzero()[:, 0], masks.indices)
    counts = masks.mask.sum(1)
    torch.testing.assert_close(masks.weights, 1 / counts[masks.indices // 24].float())
    assert masks.weights.sum().round() == 3  # int(7 * 0.5) crops


def test_sample_masks_chooses_crops_by_the_seed() -> None:
    assert torch.equal(draw(16, seed=3).mask, draw(16, seed=3).mask)
    masked = [tuple(draw(16, seed=s).mask.any(1).tolist()) for s in range(5)]
    assert len(set(masked)) == 5


def test_sample_masks_draws_blocks_not_scattered_patches() -> None:
    """Neighbours agree far more often than in a random mask of the same density (about 0.58 at a third)."""
    mask = draw(200).mask.unflatten(1, (16, 16))
    mask = mask[mask.flatten(1).any(1)]
    agreement = (mask[:, :, 1:] == mask[:, :, :-1]).float().mean()
    assert agreement > 0.75


def test_sample_masks_covers_patches_about_equally_away_from_the_border() -> None:
    mask = draw(2000, (8, 8)).mask.unflatten(1, (8, 8)).float().mean(0)
    assert mask.min() > 0.03
    assert mask[2:6, 2:6].max() < 0.3
    torch.testing.assert_close(mask, mask.flip(0), atol=0.04, rtol=0)


def test_sample_masks_of_tiny_grids_and_of_no_masks() -> None:
    assert draw(4, (2, 2)).mask.sum(1).max() == 2
    none = draw(6, config=MaskConfig(share=0.0))
    assert none.mask.sum() == 0
    assert len(none.indices) == 0
    assert len(none.weights) == 0
