"""Test SegmentationHead: the loss of its regions, and its Dice in comparison with MONAI."""

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from torch.nn import functional

from braindino.datasets.masks import region_membership
from braindino.errors import BraindinoError
from braindino.probing import SegmentationHead

TUMOUR = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
APART = {"anterior": (1,), "rest": (2, 3)}


def built(regions):
    head = SegmentationHead()
    head.build(6, torch.from_numpy(region_membership(regions)), tuple(regions))
    return head


def soft_dice(probability, truth):
    """Over the batch, per region, smoothed by 1e-5 as MONAI does."""
    both = (probability * truth).sum((0, 2, 3))
    total = probability.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return (1 - (2 * both + 1e-5) / (total + 1e-5)).mean()


def test_loss_of_overlapping_regions_is_dice_and_binary_cross_entropy():
    head = built(TUMOUR)
    labels = torch.randint(0, 4, (2, 8, 8), dtype=torch.uint8)
    output = head(torch.randn(2, 6, 8, 8))
    assert output.shape == (2, 3, 8, 8)
    truth = torch.stack([labels > 0, (labels == 1) | (labels == 3), labels == 3], dim=1).float()
    p = output.sigmoid()
    entropy = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    torch.testing.assert_close(head.loss(output, labels), soft_dice(p, truth) + entropy)
    assert (head.decide(output) == (p > 0.5)).all()


def test_loss_of_exclusive_regions_is_dice_and_cross_entropy():
    head = built(APART)
    labels = torch.randint(0, 4, (2, 8, 8), dtype=torch.uint8)
    output = head(torch.randn(2, 6, 8, 8))
    assert output.shape == (2, 3, 8, 8)
    classes = labels.long().clamp(max=2)
    p = output.softmax(dim=1)
    truth = functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()
    expected = soft_dice(p[:, 1:], truth[:, 1:]) + functional.cross_entropy(output, classes)
    torch.testing.assert_close(head.loss(output, labels), expected)
    decided = head.decide(output)
    assert (decided.sum(dim=1) <= 1).all()
    assert (decided[:, 1] == (output.argmax(1) == 2)).all()


def test_members_treats_a_label_outside_of_all_regions_as_background():
    head = built({"lesion": (1,)})
    logits = torch.randn(1, 2, 4, 4)
    odd = torch.full((1, 4, 4), 7, dtype=torch.uint8)
    torch.testing.assert_close(head.loss(logits, odd), head.loss(logits, torch.zeros_like(odd)))


@pytest.mark.parametrize("regions", [TUMOUR, APART])
def test_metrics_dice_equals_that_of_monai_over_whole_cases(regions):
    head = built(regions)
    labels = torch.randint(0, 4, (7, 8, 8), dtype=torch.uint8)
    labels[4:] = 0  # the second case has an empty mask, and an empty prediction in half of it
    output = torch.randn(7, 3, 8, 8)
    case = torch.tensor([3, 3, 3, 3, 8, 8, 8])
    parts = [head.evidence(output[rows], labels[rows], case[rows]) for rows in (slice(0, 5), slice(5, 7))]
    scores = head.scores({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    truth, guess = head.members(labels), head.decide(output)
    metric = DiceMetric(include_background=True, reduction="none", ignore_empty=True)
    expected = torch.stack(
        [
            metric(
                guess[case == c].transpose(0, 1)[None].float(), truth[case == c].transpose(0, 1)[None].float()
            )
            for c in (3, 8)
        ]
    ).squeeze(1)
    expected = expected.nanmean(dim=0)  # the second case has nothing to find
    assert scores["dice"] == pytest.approx(float(expected.mean()), rel=1e-6)
    for name, value in zip(regions, expected, strict=True):
        assert scores[f"dice_{name}"] == pytest.approx(float(value), rel=1e-6)
    losses = [float(head.loss(output[rows], labels[rows])) for rows in (slice(0, 5), slice(5, 7))]
    assert scores["loss"] == pytest.approx((5 * losses[0] + 2 * losses[1]) / 7)


def test_metrics_of_empty_masks_are_undefined():
    head = built({"lesion": (1,), "core": (2,)})
    nothing = torch.zeros(2, 2, 3)
    nothing[0, 1] = torch.tensor([3.0, 4.0, 5.0])
    values = head.metrics(nothing, torch.tensor([0, 1]))
    assert np.isnan(values["dice_lesion"])
    assert values["dice"] == values["dice_core"] == pytest.approx(2 * 3 / 9)
    assert np.isnan(head.metrics(torch.zeros(2, 2, 3), torch.tensor([0, 1]))["dice"])


def test_segmentation_head_refuses_options_out_of_range():
    with pytest.raises(BraindinoError, match="foreground 2: expected 0 to 1"):
        SegmentationHead(foreground=2)
    with pytest.raises(BraindinoError, match="slices_per_case 0"):
        SegmentationHead(slices_per_case=0)
