"""Test augmentation: masks move with their slices, the background stays 0, the seed determines all."""

import pytest
import torch

from braindino.errors import BraindinoError
from braindino.probing import Augmentation


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
