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
    # Among equals the first channel wins, which is the background.
    assert not head.decide(torch.ones(2, 3, 4, 4)).any()


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
    with pytest.raises(BraindinoError, match=r"hard_empty 0.8: expected 0 to 0.67, because foreground 0.33"):
        SegmentationHead(hard_empty=0.8)
    with pytest.raises(BraindinoError, match=r"hard_empty -0.1"):
        SegmentationHead(hard_empty=-0.1)
    assert SegmentationHead(foreground=0.33, hard_empty=0.67).hard_empty == 0.67
    with pytest.raises(BraindinoError, match="criterion 'dice': expected dice_ce"):
        SegmentationHead(criterion="dice")
    with pytest.raises(BraindinoError, match="the decoder linear has no coarser maps; leave it out"):
        SegmentationHead(decoder="linear", deep_supervision=True)


def test_metrics_dice_is_that_of_the_volume_not_the_mean_of_slices():
    head = built({"lesion": (1,)})
    labels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    labels[0, :4] = 1  # 32 pixels, all predicted
    labels[1, 0, :2] = 1  # 2 pixels, none predicted; 6 false ones on an empty slice
    output = torch.zeros(3, 2, 8, 8)
    output[0, 1, :4], output[0, 0, 4:] = 9.0, 9.0
    output[1:, 0] = 9.0
    output[2, 1, 0, :6] = 20.0
    scores = head.scores(head.evidence(output, labels, torch.tensor([4, 4, 4])))
    assert scores["dice"] == pytest.approx(2 * 32 / (34 + 38))
    assert scores["dice"] != pytest.approx((1 + 0) / 2, abs=0.1)


def test_false_pixels_counts_predictions_on_slices_without_a_region():
    labels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    labels[0, 0, 0] = 3
    labels[1, 0, 0] = 7  # of no region
    for regions, outputs in ((TUMOUR, 3), (APART, 3)):
        head = built(regions)
        output = torch.full((3, outputs, 8, 8), -9.0)
        output[:, 1, :2, :5] = 9.0
        output[:, 2, 1, :6] = 10.0  # overlaps the region before in five pixels
        if head.exclusive:
            output[:, 0] = 0.0
        assert head.false_pixels(output, labels).tolist() == [0, 11, 11]


@pytest.mark.parametrize("regions", [TUMOUR, APART])
def test_supervised_loss_weighs_coarser_maps_by_half_and_excludes_the_coarsest(regions):
    head = SegmentationHead(deep_supervision=True)
    head.build(6, torch.from_numpy(region_membership(regions)), tuple(regions))
    head.build_auxiliary([6, 5, 4])
    assert [layer.weight.shape[:2] for layer in head.auxiliary] == [(3, 6), (3, 5)]
    maps = [torch.randn(2, width, side, side) for width, side in ((6, 8), (6, 4), (5, 2), (4, 1))]
    labels = torch.randint(0, 4, (2, 8, 8), dtype=torch.uint8)
    loss = head.supervised_loss(head(maps[0]), maps[1:], labels)
    coarser = [
        functional.interpolate(layer(values), (8, 8), mode="bilinear")
        for layer, values in zip(head.auxiliary, maps[1:3], strict=True)
    ]
    losses = [head.loss(output, labels) for output in (head(maps[0]), *coarser)]
    torch.testing.assert_close(loss, (losses[0] + losses[1] / 2 + losses[2] / 4) / 1.75)
    head.build_auxiliary([6])
    assert len(head.auxiliary) == 1  # the only coarser map
    plain = built(regions)
    assert torch.equal(
        plain.supervised_loss(plain(maps[0]), maps[1:], labels), plain.loss(plain(maps[0]), labels)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": -1}, "neighbours -1: expected 0 or more"),
        ({"decoder": "paper", "neighbours": 1}, "neighbours 1: the decoder paper takes 0"),
        ({"decoder": "unet", "image_size": 64}, "image_size 64: the decoder unet has no encoder"),
        ({"decoder": "linear", "deep_supervision": True}, "linear has no coarser maps; leave it out, or use"),
    ],
)
def test_segmentation_head_refuses_options_that_its_decoder_does_not_have(options, message):
    with pytest.raises(BraindinoError, match=message):
        SegmentationHead(**options)


@pytest.mark.parametrize("regions", [TUMOUR, APART])
def test_average_gives_the_logits_of_the_mean_probabilities(regions):
    head = built(regions)
    first, second = 3 * torch.randn(2, 2, 3, 4, 4)
    averaged = head.average(first, second)
    probability = (lambda logits: logits.softmax(1)) if head.exclusive else torch.sigmoid
    expected = (probability(first) + probability(second)) / 2
    torch.testing.assert_close(probability(averaged), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(probability(head.average(first, first)), probability(first))
    assert (head.decide(averaged) == head.decide(head.average(second, first))).all()
