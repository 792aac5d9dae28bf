"""Views: crops equal torch's antialiased resize, changes have their strengths, all follows the seed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.transforms import GaussianSmooth
from torch.nn import functional as F

from braindino.errors import BraindinoError
from braindino.pretraining.views.crops import Boxes, crop, crop_by_products, resize_matrix, sample_boxes
from braindino.pretraining.views.intensity import (
    IntensityConfig,
    change_intensity,
    gamma,
    low_resolution_matrix,
    smoothing_matrix,
)
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import Views, ViewsConfig, make_views
from braindino.scans.preprocessing import decode
from tests.helpers.slices import structured_slices

CPU = torch.device("cpu")
UNCHANGED = IntensityConfig(noise=0, smoothing=0, scaling=0, low_resolution=0, gamma=0)


def raw_batch(count: int = 4, size: int = 40) -> dict[str, torch.Tensor]:
    slices = structured_slices(count, size)
    return {"slices": slices, "scale": torch.full((count,), 0.02), "zero_point": torch.full((count,), 40.0)}


@pytest.mark.parametrize("make", [crop, crop_by_products])
@pytest.mark.parametrize("out", [16, 40, 64])
def test_crop_equals_interpolate_on_the_cut(out: int, make: Callable[..., torch.Tensor]) -> None:
    """Reduced, unchanged and enlarged; torch's antialiased bicubic is the reference."""
    slices = torch.randn(2, 40, 48)
    boxes = Boxes(
        top=np.array([[3, 0], [11, 5]]),
        left=np.array([[0, 7], [20, 1]]),
        height=np.array([[30, 40], [9, 20]]),
        width=np.array([[48, 13], [28, 31]]),
        flip=np.array([[False, True], [True, False]]),
    )
    views = make(slices, boxes, out)
    assert views.shape == (2, 2, 1, out, out)
    for v in range(2):
        for b in range(2):
            top, left = boxes.top[v, b], boxes.left[v, b]
            cut = slices[b, top : top + boxes.height[v, b], left : left + boxes.width[v, b]][None, None]
            expected = F.interpolate(cut, (out, out), mode="bicubic", antialias=True)[0]
            expected = expected.flip(-1) if boxes.flip[v, b] else expected
            torch.testing.assert_close(views[v, b], expected, rtol=1e-4, atol=1e-5)


def test_crop_of_the_whole_slice_changes_nothing() -> None:
    matrix = resize_matrix(torch.tensor([0]), torch.tensor([12]), 12, 12, 12)
    torch.testing.assert_close(matrix[0], torch.eye(12))


def test_sample_boxes_lie_inside_and_have_the_configured_areas() -> None:
    boxes = sample_boxes(3, 500, (64, 48), (0.05, 0.32), 0.5, np.random.default_rng(0))
    assert boxes.top.shape == (3, 500)
    assert (boxes.top >= 0).all()
    assert (boxes.top + boxes.height <= 64).all()
    assert (boxes.left + boxes.width <= 48).all()
    area = boxes.height * boxes.width / (64 * 48)
    assert 0.04 < area.min() < 0.06
    assert 0.30 < area.max() < 0.34
    assert area.mean() == pytest.approx((0.05 + 0.32) / 2, abs=0.01)
    aspect = boxes.width / boxes.height
    assert 0.6 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.6
    assert boxes.flip.mean() == pytest.approx(0.5, abs=0.05)


def test_sample_boxes_takes_the_whole_slice_if_none_fits() -> None:
    boxes = sample_boxes(1, 5, (30, 30), (1.5, 2.0), 0.0, np.random.default_rng(0))
    assert (boxes.height == 30).all()
    assert (boxes.width == 30).all()


def test_make_views_shapes_and_seeds() -> None:
    config = ViewsConfig(global_size=32, local_size=16, local_crops=3)
    first, again = (make_views(raw_batch(), config, Randomness.of(1, 2, 3, CPU)) for _ in range(2))
    assert first.global_crops.shape == (2, 4, 1, 32, 32)
    assert first.local_crops.shape == (3, 4, 1, 16, 16)
    assert torch.equal(first.global_crops, again.global_crops)
    assert torch.equal(first.local_crops, again.local_crops)
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        views = make_views(raw_batch(), config, Randomness.of(*other, CPU))
        assert not torch.equal(first.global_crops, views.global_crops)


def test_make_views_without_changes_are_the_decoded_slices() -> None:
    config = ViewsConfig(
        global_size=40, global_scale=(1.0, 1.0), local_crops=0, local_size=8, flip=0.0, intensity=UNCHANGED
    )
    batch = raw_batch(64)
    views = make_views(batch, config, Randomness.of(0, 0, 0, CPU))
    assert views.local_crops.shape == (0, 64, 1, 8, 8)
    slices = decode(batch["slices"], batch["scale"], batch["zero_point"])
    same = [torch.allclose(v[0], s, atol=1e-4) for v, s in zip(views.global_crops[0], slices, strict=True)]
    assert any(same)  # aspect ratio 1 within the rounding, the only one that fits an area of 1


def test_make_views_of_float16_slices_need_no_quantisation() -> None:
    batch = {"slices": torch.randn(2, 40, 40).half(), "scale": torch.ones(2), "zero_point": torch.zeros(2)}
    views = make_views(batch, ViewsConfig(global_size=32, local_size=16), Randomness.of(0, 0, 0, CPU))
    assert views.global_crops.dtype == torch.float32
    assert views.global_crops.isfinite().all()


def test_shared_intensity_changes_all_views_of_a_slice_alike() -> None:
    """A scaled slice is scaled in each of its crops."""
    intensity = IntensityConfig(noise=0, smoothing=0, scaling=1, low_resolution=0, gamma=0)
    config = ViewsConfig(global_size=32, local_size=16, local_crops=2, intensity=UNCHANGED)
    batch = {"slices": torch.ones(6, 40, 40).half(), "scale": torch.ones(6), "zero_point": torch.zeros(6)}
    scaled = ViewsConfig(global_size=32, local_size=16, local_crops=2, intensity=intensity)
    views = make_views(batch, scaled, Randomness.of(0, 0, 0, CPU))
    factors = views.global_crops[0].mean((1, 2, 3))
    assert factors.std() > 0.05
    assert 0.75 <= factors.min() < factors.max() <= 1.25
    torch.testing.assert_close(views.local_crops[1].mean((1, 2, 3)), factors)
    plain = make_views(batch, config, Randomness.of(0, 0, 0, CPU))
    torch.testing.assert_close(plain.global_crops, torch.ones_like(plain.global_crops))


def test_shared_intensity_false_changes_views_separately_except_gram_crops() -> None:
    """Slices of ones show the factor of each view."""
    intensity = IntensityConfig(noise=0, smoothing=0, scaling=1, low_resolution=0, gamma=0)
    config = ViewsConfig(
        32, local_size=16, local_crops=2, gram_size=40, intensity=intensity, shared_intensity=False
    )
    batch = {"slices": torch.ones(6, 40, 40).half(), "scale": torch.ones(6), "zero_point": torch.zeros(6)}
    views, again = (make_views(batch, config, Randomness.of(0, 0, 0, CPU)) for _ in range(2))
    factors = torch.cat([crops.mean((2, 3, 4)) for crops in (views.global_crops, views.local_crops)])
    assert 0.75 <= factors.min() < factors.max() <= 1.25
    assert factors.std(dim=0).min() > 0.01  # over the views of each slice
    assert len(factors.flatten().unique()) == 24
    assert views.gram_crops is not None
    torch.testing.assert_close(views.gram_crops, torch.ones_like(views.gram_crops))
    assert torch.equal(views.local_crops, again.local_crops)


def test_gram_intensity_shows_the_changes_to_the_gram_teacher() -> None:
    intensity = IntensityConfig(noise=0, smoothing=0, scaling=1, low_resolution=0, gamma=0)
    batch = {"slices": torch.ones(6, 40, 40).half(), "scale": torch.ones(6), "zero_point": torch.zeros(6)}
    for seen in (False, True):
        config = ViewsConfig(32, local_crops=0, gram_size=40, intensity=intensity, gram_intensity=seen)
        views = make_views(batch, config, Randomness.of(0, 0, 0, CPU))
        assert views.gram_crops is not None
        factors = views.global_crops.mean((2, 3, 4)) if seen else torch.ones(2, 6)
        torch.testing.assert_close(views.gram_crops.mean((2, 3, 4)), factors)
    with pytest.raises(BraindinoError, match="gram_intensity: needs shared_intensity"):
        ViewsConfig(gram_intensity=True, shared_intensity=False)


def test_change_intensity_has_the_configured_probabilities() -> None:
    slices = torch.rand(2000, 6, 6)
    for name in ("noise", "smoothing", "scaling", "low_resolution", "gamma"):
        config = IntensityConfig(**{**vars(UNCHANGED), name: 0.2})
        r = Randomness.of(0, 0, 0, CPU)
        changed = change_intensity(slices, config, r.host, r.device)
        share = (changed - slices).abs().amax((1, 2)).gt(1e-6).float().mean().item()
        assert share == pytest.approx(0.2, abs=0.03), name
    assert slices.max() <= 1  # the input is left as it is


def test_smoothing_matrix_is_a_gaussian_that_preserves_a_constant() -> None:
    """Integrated over pixels, which adds their variance of 1 / 12."""
    matrix = smoothing_matrix(torch.tensor([0.8]), 21)[0]
    torch.testing.assert_close(matrix.sum(1), torch.ones(21))
    offsets = torch.arange(21) - 10.0
    assert (matrix[10] * offsets**2).sum().sqrt().item() == pytest.approx((0.64 + 1 / 12) ** 0.5, rel=1e-3)


def test_smoothing_matrix_equals_monais_away_from_the_edges() -> None:
    """FlexiCT smooths by RandGaussianSmooth(sigma_x, sigma_y), which are the two axes of a slice."""
    slices = torch.randn(1, 40, 36)
    expected = GaussianSmooth(sigma=[0.6, 0.9], approx="erf")(slices)[0]
    vertical = smoothing_matrix(torch.tensor([0.6]), 40)
    smoothed = (vertical @ slices @ smoothing_matrix(torch.tensor([0.9]), 36).mT)[0]
    torch.testing.assert_close(smoothed[4:-4, 4:-4], expected[4:-4, 4:-4], rtol=0, atol=1e-3)


def test_change_intensity_draws_noise_and_smoothing_as_monai_does() -> None:
    """RandGaussianNoise(std=0.1) draws U(0, 0.1); each axis of RandGaussianSmooth has a separate sigma."""
    blank = torch.zeros(3000, 16, 16)
    r = Randomness.of(0, 0, 0, CPU)
    noisy = change_intensity(blank, IntensityConfig(**{**vars(UNCHANGED), "noise": 1.0}), r.host, r.device)
    spread = noisy.std(dim=(1, 2))
    assert spread.min() < 0.005
    assert spread.mean().item() == pytest.approx(0.05, abs=0.002)
    assert 0.095 < spread.max() < 0.125
    fixed = IntensityConfig(**{**vars(UNCHANGED), "noise": 1.0, "noise_std": 0.1})
    assert change_intensity(blank, fixed, r.host, r.device).std(dim=(1, 2)).min() > 0.07
    dots = torch.zeros(200, 17, 17)
    dots[:, 8, 8] = 1
    smooth = change_intensity(
        dots, IntensityConfig(**{**vars(UNCHANGED), "smoothing": 1.0}), r.host, r.device
    )
    down, across = smooth[:, 9, 8], smooth[:, 8, 9]  # equal where both axes have one sigma
    assert torch.corrcoef(torch.stack([down, across]))[0, 1] < 0.5
    assert (down - across).abs().mean() > 0.01


def test_low_resolution_matrix_equals_nearest_then_cubic_interpolation() -> None:
    image = torch.randn(1, 1, 32, 32)
    matrix = low_resolution_matrix(torch.tensor([0.7]), 32)[0]
    small = F.interpolate(image, (22, 22), mode="nearest-exact")
    expected = F.interpolate(small, (32, 32), mode="bicubic")[0, 0]
    torch.testing.assert_close(matrix @ image[0, 0] @ matrix.T, expected, rtol=1e-4, atol=1e-5)


def test_gamma_preserves_the_range_and_a_constant_slice() -> None:
    slices = torch.stack([torch.randn(9, 9) * 3, torch.full((9, 9), 2.0)])
    changed = gamma(slices, torch.tensor([0.7, 1.5]))
    torch.testing.assert_close(changed.amin((1, 2)), slices.amin((1, 2)))
    torch.testing.assert_close(changed.amax((1, 2)), slices.amax((1, 2)))
    assert changed[0].mean() > slices[0].mean()


def test_whole_patches_equal_the_input_of_a_strided_convolution() -> None:
    """168 pixels at patch size 16 are 10 x 10 patches in DINOv3's code: the last 8 are dropped."""
    crops = torch.randn(8, 4, 1, 168, 168)
    views = Views(torch.randn(2, 4, 1, 512, 512), crops, torch.randn(2, 4, 1, 768, 768)).whole_patches(16)
    embed = torch.nn.Conv2d(1, 3, 16, stride=16)
    assert views.local_crops.shape == (8, 4, 1, 160, 160)
    expected = embed(crops.flatten(0, 1))
    assert expected.shape[-2:] == (10, 10)
    assert torch.equal(embed(views.local_crops.flatten(0, 1)), expected)
    assert views.global_crops.shape[-1] == 512
    assert views.gram_crops is not None
    assert views.gram_crops.shape[-1] == 768


def test_views_config_check_refuses_a_size_and_names_the_nearest() -> None:
    with pytest.raises(BraindinoError, match=r"views.local_size: 100 .* patch size 16; the nearest is 96"):
        ViewsConfig(local_size=100).check(16)
    ViewsConfig(local_size=100, partial_patches="drop").check(16)
    with pytest.raises(BraindinoError, match=r"views.local_size: 8"):
        ViewsConfig(local_size=8, partial_patches="drop").check(16)
