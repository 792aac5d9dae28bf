"""Test the layers that decoders share: channels and sizes of maps that are enlarged by steps."""

import pytest
import torch
from torch import nn

from braindino.probing.decoders.layers import enlarge_by_steps, enlarging_stages, enlarging_widths


def test_enlarging_widths_fall_by_a_quarter_to_24():
    assert enlarging_widths(64, 4) == [64, 48, 32, 24, 24]
    assert enlarging_widths(64, 0) == [64]


def test_enlarging_stages_convolve_from_each_width_to_the_next():
    stages = enlarging_stages([64, 48, 32])
    assert [(stage[0].in_channels, stage[0].out_channels) for stage in stages] == [(64, 48), (48, 32)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((32, 48), [(8, 12), (16, 24), (32, 48)]),
        # Enlarged slices: their pixels are reached before the last step.
        ((10, 48), [(8, 12), (10, 24), (10, 48)]),
        # The last step reaches the pixels of any size.
        ((50, 50), [(8, 12), (16, 24), (50, 50)]),
    ],
)
def test_enlarge_by_steps_doubles_sides_up_to_the_pixels(size, expected):
    maps = enlarge_by_steps([nn.Identity()] * 3, torch.zeros(2, 5, 4, 6), size)
    assert [tuple(each.shape) for each in maps] == [(2, 5, *sides) for sides in expected]
