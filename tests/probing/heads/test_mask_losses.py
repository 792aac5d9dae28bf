"""Test the losses of masks: their terms, batches without any region, and gradients."""

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from braindino.errors import BraindinoError
from braindino.probing.heads.mask_losses import Criterion, MaskLoss, check_criterion

CRITERIA = get_args(Criterion)


def drawn(exclusive: bool) -> tuple[Tensor, Tensor]:
    """Return logits and truth of two regions that are exclusive, or overlap."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2 + exclusive, 8, 8, generator=generator)
    classes = torch.randint(0, 3, (3, 8, 8), generator=generator)
    truth = torch.stack([classes == 1, classes == 2], dim=1)
    return logits, truth if exclusive else truth | (classes == 2)[:, None]


def test_check_criterion_lists_the_losses() -> None:
    with pytest.raises(BraindinoError, match="criterion 'dice': expected dice_ce, dice_focal, dice_topk"):
        check_criterion("dice")


@pytest.mark.parametrize("exclusive", [True, False])
def test_mask_loss_focal_is_cross_entropy_weighed_by_the_error(exclusive: bool) -> None:
    logits, truth = drawn(exclusive)
    if exclusive:
        every = torch.cat([~truth.any(dim=1, keepdim=True), truth], dim=1)
        p = (logits.softmax(dim=1) * every).sum(dim=1)
    else:
        p = torch.where(truth, logits.sigmoid(), 1 - logits.sigmoid())
    focal = (-((1 - p) ** 2) * p.log()).mean()
    entropy = -p.log().mean()
    difference = MaskLoss("dice_focal", exclusive)(logits, truth) - MaskLoss("dice_ce", exclusive)(
        logits, truth
    )
    torch.testing.assert_close(difference, focal - entropy, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_mask_loss_topk_is_the_cross_entropy_of_the_hardest_tenth(exclusive: bool) -> None:
    logits, truth = drawn(exclusive)
    if exclusive:
        classes = truth[:, 0].long() + 2 * truth[:, 1].long()
        losses = functional.cross_entropy(logits, classes, reduction="none")
    else:
        losses = functional.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
    hardest = losses.flatten().sort(descending=True).values[: losses.numel() // 10].mean()
    difference = MaskLoss("dice_topk", exclusive)(logits, truth) - MaskLoss("dice_ce", exclusive)(
        logits, truth
    )
    torch.testing.assert_close(difference, hardest - losses.mean())


def test_mask_loss_tversky_costs_a_missed_pixel_more_than_a_false_one() -> None:
    truth = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    truth[0, 0, :2] = True
    sure = torch.where(truth, 20.0, -20.0)
    missed, false = sure.clone(), sure.clone()
    missed[0, 0, 0, 0], false[0, 0, 3, 3] = -20.0, 20.0
    overlap = MaskLoss("tversky_ce", False).overlap
    # 7 of 8 pixels predicted: 1 - 7 / (7 + .7); 8 and a false one: 1 - 8 / (8 + .3).
    assert float(overlap(missed, truth.float())) == pytest.approx(1 - 7 / 7.7, abs=1e-4)
    assert float(overlap(false, truth.float())) == pytest.approx(1 - 8 / 8.3, abs=1e-4)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("size", [0.0, 5.0, 60.0])
def test_mask_loss_of_a_batch_without_any_region_teaches_the_background(
    criterion: Criterion, exclusive: bool, size: float
) -> None:
    logits, truth = drawn(exclusive)
    logits = (logits * size).requires_grad_()
    loss = MaskLoss(criterion, exclusive)(logits, torch.zeros_like(truth))
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    # A step against the gradient makes no region more probable. A channel's sum is at most the smoothing.
    regions = logits.grad[:, 1:] if exclusive else logits.grad
    assert float(regions.sum()) > 0
    assert float(regions.abs().max()) < 0.3
