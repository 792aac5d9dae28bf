"""BrainSegFounder's encoder: the legacy merging, the channels, the sizes read from weights."""

from typing import Any

import pytest
import torch

from braindino.encoders.volumes.swin import (
    CHANNELS,
    DEPTHS,
    LegacyPatchMerging,
    SwinEncoder,
    SwinShape,
    channel_shares,
    shape_of,
    swin,
)
from braindino.errors import BraindinoError

TINY = SwinShape(side=32, width=12, depths=(1, 1, 1, 1), heads=(1, 2, 4, 8), window=2)


def test_legacy_patch_merging_takes_two_octants_twice_and_two_never() -> None:
    torch.manual_seed(0)
    merging = LegacyPatchMerging(3)
    x = torch.randn(2, 4, 6, 2, 3)
    octants = {(i, j, k): x[:, i::2, j::2, k::2] for i in range(2) for j in range(2) for k in range(2)}
    order = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    expected = merging.reduction(merging.norm(torch.cat([octants[place] for place in order], -1)))
    torch.testing.assert_close(merging(x), expected)
    changed = x.clone()
    changed[:, 1::2, 1::2, 0::2] += 1
    changed[:, 0::2, 1::2, 1::2] += 1
    torch.testing.assert_close(merging(changed), merging(x))
    assert merging(torch.randn(1, 3, 5, 2, 3)).shape == (1, 2, 3, 1, 6)  # odd lengths are padded


def test_swin_of_another_merging_has_equal_keys_and_other_features() -> None:
    torch.manual_seed(0)
    legacy = SwinEncoder(TINY)
    other = swin(SwinShape(**{**TINY.__dict__, "legacy_merging": False})).eval()
    other.load_state_dict(legacy.network.state_dict())
    scan = torch.randn(1, 2, 32, 32, 32)
    one, two = legacy.network(scan), other(scan)
    torch.testing.assert_close(one[0], two[0])  # before the first merging
    assert (one[-1] - two[-1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("modality", "channels", "shares"),
    [
        ("T1w", ("t1", "flair"), (1, 0)),
        ("T1GD", ("t1", "flair"), (1, 0)),
        ("FLAIR", ("t1", "flair"), (0, 1)),
        ("T2w", ("t1", "flair"), (0.5, 0.5)),
        ("t1c", ("flair", "t1ce", "t1", "t2"), (0, 1, 0, 0)),
        ("PET", ("flair", "t1ce", "t1", "t2"), (0.25, 0.25, 0.25, 0.25)),
        ("anything", ("any",), (1,)),
    ],
)
def test_channel_shares_puts_a_scan_into_its_channel(
    modality: str, channels: tuple[str, ...], shares: tuple[float, ...]
) -> None:
    assert channel_shares(modality, channels) == shares


def test_channel_shares_of_a_spread_scan_equal_the_mean_of_the_kernels() -> None:
    torch.manual_seed(0)
    network: Any = swin(TINY)
    embedding = network.patch_embed.proj
    scan = torch.randn(1, 1, 4, 4, 4)
    mean = torch.nn.functional.conv3d(scan, embedding.weight.mean(1, keepdim=True), embedding.bias, stride=2)
    torch.testing.assert_close(embedding(scan.expand(-1, 2, -1, -1, -1) / 2), mean)


def test_shape_of_reads_sizes_from_weights() -> None:
    shape = SwinShape(channels=("flair", "t1ce", "t1", "t2"), depths=(2, 2, 6, 2))
    weights = dict(swin(shape).state_dict())
    assert len(swin(SwinShape()).state_dict()) == 126  # what BrainSegFounder's checkpoints hold
    assert shape_of(weights, "file") == shape
    weights["patch_embed.proj.weight"] = torch.zeros(48, 3, 2, 2, 2)
    with pytest.raises(BraindinoError, match="file: a Swin encoder of 3 channels"):
        shape_of(weights, "file")


@pytest.mark.parametrize(("name", "millions"), [("tiny", 8.06), ("small", 9.95), ("big", 15.6)])
def test_swin_has_the_published_number_of_parameters(name: str, millions: float) -> None:
    encoder = swin(SwinShape(channels=CHANNELS[4], depths=DEPTHS[name]))
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, rel=5e-3)
