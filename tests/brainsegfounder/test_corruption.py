"""Corruption: turns match their labels; blocks cover the drawn part and follow the seed."""

import numpy as np
import pytest
import torch

from braindino.brainsegfounder.corruption import CorruptionConfig, CropGenerators, corrupt, turn
from braindino.errors import BraindinoError

CPU = torch.device("cpu")


def crops(count: int = 6, side: int = 16) -> torch.Tensor:
    return torch.randn(count, 2, side, side, side, generator=torch.Generator().manual_seed(0))


def test_turn_is_undone_by_its_label() -> None:
    given = crops(32, 4)
    turned, quarters = turn(given, CropGenerators.of(0, 0, 0, CPU))
    assert set(quarters.tolist()) == {0, 1, 2, 3}
    for crop, back, k in zip(given, turned, quarters, strict=True):
        assert torch.equal(back.rot90(-int(k), (-2, -1)), crop)


def test_turn_by_a_quarter_moves_rows_to_columns() -> None:
    crop = torch.zeros(1, 1, 2, 3, 3)
    crop[..., 0, 2] = 1
    seed = next(s for s in range(99) if CropGenerators.of(s, 0, 0, CPU).host.integers(0, 4, 1)[0] == 1)
    turned, quarters = turn(crop, CropGenerators.of(seed, 0, 0, CPU))
    assert quarters.tolist() == [1]
    assert turned[0, 0, 0, 0, 0] == 1


@pytest.mark.parametrize("swapped", [0.0, 1.0])
def test_corrupt_in_one_round_covers_the_drawn_part_only(swapped: float) -> None:
    given = crops()
    config = CorruptionConfig(covered=0.3, swapped=swapped)
    cut = corrupt(given, config, CropGenerators.of(3, 0, 0, CPU))
    changed = (cut != given).any(dim=1)
    shares = changed.flatten(1).float().mean(dim=1)
    largest_block = 0.25**3 + 0.02
    targets = CropGenerators.of(3, 0, 0, CPU).host.uniform(0, 0.3, len(given))
    for share, target in zip(shares.tolist(), targets.tolist(), strict=True):
        assert target - 1e-3 <= share <= target + largest_block
    if swapped:
        for b, crop in enumerate(cut):
            copied = (given == crop).all(dim=1)
            assert copied[[i for i in range(len(given)) if i != b]].any(dim=0)[changed[b]].all()
    else:
        noise = cut[changed[:, None].expand_as(cut)]
        assert abs(float(noise.mean())) < 0.05
        assert abs(float(noise.std()) - 1) < 0.05


def test_corrupt_in_two_rounds_covers_as_much_as_the_authors_code() -> None:
    """23 % of the voxels in a batch of 4, by noise and by other crops; 16 % in one round."""

    def covered(config: CorruptionConfig) -> tuple[float, float]:
        whole, noise = [], []
        given = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 1, 48, 48, 48)  # a crop is its number
        for seed in range(60):
            changed = corrupt(given, config, CropGenerators.of(seed, 0, 0, CPU)) - given
            whole.append((changed != 0).float().mean().item())
            noise.append(((changed % 1) != 0).float().mean().item())
        return float(np.mean(whole)), float(np.mean(noise))

    whole, noise = covered(CorruptionConfig())
    assert whole == pytest.approx(0.235, abs=0.015)
    assert noise == pytest.approx(0.12, abs=0.015)  # some of the first round is cut again by the second
    once, _ = covered(CorruptionConfig(swapped=0.5))
    assert once == pytest.approx(0.16, abs=0.015)


def test_corrupt_without_blocks_returns_the_crops_and_leaves_the_input() -> None:
    given = crops()
    before = given.clone()
    assert torch.equal(corrupt(given, CorruptionConfig(covered=0.0), CropGenerators.of(0, 0, 0, CPU)), given)
    corrupt(given, CorruptionConfig(), CropGenerators.of(0, 0, 0, CPU))
    assert torch.equal(given, before)


def test_crop_randomness_is_a_function_of_seed_batch_and_process() -> None:
    def made(seed: int, batch: int, process: int) -> torch.Tensor:
        randomness = CropGenerators.of(seed, batch, process, CPU)
        return corrupt(turn(crops(), randomness)[0], CorruptionConfig(), randomness)

    assert torch.equal(made(1, 2, 0), made(1, 2, 0))
    for other in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert not torch.equal(made(1, 2, 0), made(*other))


def test_corrupt_fills_a_single_crop_with_noise() -> None:
    cut = corrupt(crops(1), CorruptionConfig(swapped=1.0), CropGenerators.of(0, 0, 0, CPU))
    assert np.isfinite(cut.numpy()).all()
    assert not torch.equal(cut, crops(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covered": 1.0}, "covered 1.0: expected 0 to below 1"),
        ({"smallest": 0.5}, "smallest 0.5 and largest 0.25"),
        ({"swapped": 2.0}, "swapped 2.0: expected 0 to 1, or null"),
    ],
)
def test_corruption_config_rejects_parts_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(BraindinoError, match=message):
        CorruptionConfig(**options)
