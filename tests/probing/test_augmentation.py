"""Test augmentation: masks move with their slices, the background stays 0, the seed determines all."""

import pytest
import torch

from braindino.errors import BraindinoError
from braindino.probing import Augmentation, ClassificationHead, FrozenProbeModule
from braindino.probing.settings import describe


def made(seed, augment, images, labels=None):
    torch.manual_seed(seed)
    return augment(images, labels)


def test_augmentation_moves_labels_with_their_slices():
    images = torch.zeros(32, 2, 12, 12)
    images[:, :, 2:6, 3:8] = 1.0 + torch.rand(32, 2, 4, 5)
    labels = (images[:, 0] != 0).to(torch.uint8)
    changed, moved = made(0, Augmentation(shift=0.2), images, labels)
    assert ((changed != 0) == (moved != 0)[:, None]).all()
    assert len({tuple(m.flatten().tolist()) for m in moved}) > 8
    assert (changed[:, 0] != images[:, 0]).any()


def test_augmentation_follows_the_seed_and_changes_nothing_in_place():
    images = torch.randn(4, 1, 8, 8)
    before = images.clone()
    one, none = made(1, Augmentation(), images)
    assert none is None
    assert torch.equal(one, made(1, Augmentation(), images)[0])
    assert not torch.equal(one, made(2, Augmentation(), images)[0])
    assert torch.equal(images, before)


def test_augmentation_of_zero_strength_changes_nothing():
    images = torch.randn(4, 1, 3, 8, 8)
    assert torch.equal(Augmentation(flip=0, shift=0, scale=0, offset=0)(images)[0], images)


def test_augmentation_moves_all_slices_of_a_case_alike():
    plane = torch.rand(1, 1, 1, 9, 9) + 0.5
    changed, _ = made(3, Augmentation(shift=0.3), plane.expand(8, 2, 5, 9, 9))
    assert (changed == changed[:, :1, :1]).all()


def test_augmentation_flips_and_shifts_by_the_given_amounts():
    images = torch.zeros(200, 1, 10, 10)
    images[:, 0, 4, 4] = 1.0
    flipped, _ = made(0, Augmentation(flip=1, shift=0, scale=0, offset=0), images)
    assert (flipped[:, 0, 4, 5] == 1).all()
    shifted, _ = made(0, Augmentation(flip=0, shift=0.2, scale=0, offset=0), images)
    rows = shifted.flatten(1).argmax(1) // 10
    assert set(rows.tolist()) == {2, 3, 4, 5, 6}


def test_augmentation_refuses_strengths_out_of_range():
    with pytest.raises(BraindinoError, match=r"model.augment.flip 2: expected 0 to 1"):
        Augmentation(flip=2)


STILL = {"flip": 0, "shift": 0, "scale": 0, "offset": 0}


def disc(side=48, radius=14):
    """Two images of a disc with a bright quadrant, and its labels: 1 the disc, 2 the quadrant."""
    rows, columns = torch.meshgrid(*[torch.arange(side) - (side - 1) / 2] * 2, indexing="ij")
    labels = (rows**2 + columns**2 < radius**2).to(torch.uint8)
    labels[(labels > 0) & (rows < 0) & (columns > 0)] = 2
    return (1.0 + labels) * (labels > 0), labels


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_augmentation_turns_labels_with_their_slices(shape):
    image, labels = disc()
    images = image.expand(6, *shape, *image.shape)
    augment = Augmentation(**STILL, rotation=180, zoom=0.3)
    changed, moved = made(0, augment, images, labels.expand(6, *labels.shape))
    assert changed.shape == images.shape
    assert moved.dtype == torch.uint8
    planes = changed.flatten(1, -3)
    assert (planes == planes[:, :1]).all()
    # The background stays exactly 0, and the image has the values of the labels away from edges.
    assert ((planes[:, 0] != 0) == (moved != 0)).all()
    same = (planes[:, 0] - (1.0 + moved) * (moved > 0)).abs() < 1e-3
    assert same.float().mean() > 0.95
    areas = (moved > 0).flatten(1).sum(1) / (labels > 0).sum()
    assert areas.min() < 0.9 < 1.1 < areas.max()
    assert ((areas > 1.3**-2.1) & (areas < 1.3**2.1)).all()
    # The quadrant is elsewhere in each.
    assert len({tuple(m.flatten().tolist()) for m in moved}) == 6


def test_augmentation_rotates_non_square_slices_without_shear():
    image = torch.zeros(1, 1, 40, 60)
    image[0, 0, 10:30, 20:40] = 1.0
    areas = []
    for seed in range(8):
        changed, _ = made(seed, Augmentation(**STILL, rotation=90), image)
        rows, columns = changed[0, 0].nonzero().float().unbind(1)
        areas.append(float(changed.sum()))
        # The covariance of a turned square is that of the square.
        assert torch.cov(torch.stack([rows, columns])).sub(torch.eye(2) * 33.3).abs().max() < 2.5
    assert all(370 < area < 430 for area in areas)


def test_augmentation_changes_contrast_by_gamma_and_adds_noise():
    image, _ = disc()
    ramp = image * torch.linspace(0.5, 1.5, 48)
    images = ramp.expand(8, 2, 1, 48, 48)
    changed, _ = made(0, Augmentation(**STILL, gamma=0.5), images)
    inside = ramp != 0
    assert (changed[..., ~inside] == 0).all()
    values, before = changed[:, 0, 0][:, inside], ramp[inside]
    for gamma in values:
        assert gamma.min() == pytest.approx(float(before.min()), abs=1e-5)
        assert gamma.max() == pytest.approx(float(before.max()), abs=1e-5)
        assert (gamma[before.argsort()].diff() > -1e-5).all()
    assert len({round(float(v.mean()), 4) for v in values}) == 8
    noisy, _ = made(0, Augmentation(**STILL, noise=0.2), images)
    assert (noisy[..., ~inside] == 0).all()
    deviations = (noisy - images)[..., inside].flatten(1).std(dim=1)
    assert (deviations < 0.21).all()
    assert deviations.max() > 0.1 > deviations.min()
    assert (noisy[:, 0] != noisy[:, 1]).any()


def test_augmentation_with_new_options_draws_the_same_old_changes():
    images = torch.rand(5, 1, 9, 9) + 0.5
    plain, _ = made(4, Augmentation(), images)
    shape = made(4, Augmentation(noise=1e-9), images)[0]
    torch.testing.assert_close(plain, shape, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("option", "value"), [("rotation", 181), ("zoom", 1.5), ("gamma", -1), ("noise", 2), ("rotation", -5)]
)
def test_augmentation_refuses_amounts_out_of_range(option, value):
    with pytest.raises(BraindinoError, match=f"model.augment.{option} {value}: expected 0 to"):
        Augmentation(**{option: value})


def test_describe_omits_options_that_earlier_versions_did_not_have():
    module = FrozenProbeModule("tiny", ClassificationHead(), augment=Augmentation(shift=0.2))
    described = describe(module)
    assert described["augment"] == {"flip": 0.5, "shift": 0.2, "scale": 0.1, "offset": 0.1}
    assert "ema" not in described
    module = FrozenProbeModule("tiny", ClassificationHead(), augment=Augmentation(zoom=0.2), ema=0.9)
    assert (describe(module)["augment"]["zoom"], describe(module)["ema"]) == (0.2, 0.9)


def test_augmentation_flips_only_if_every_other_amount_is_0():
    assert Augmentation(**{**STILL, "flip": 0.5}).flips_only
    for option in ("shift", "scale", "offset", "rotation", "zoom", "gamma", "noise"):
        assert not Augmentation(**{**STILL, option: 0.1}).flips_only
