"""Compare resampling with PyTorch's antialiased interpolation in float64."""

import numpy as np
import pytest
import torch

from braindino.scans.resampling import linear_weights, nearest_indices, resample


@pytest.mark.parametrize(
    ("source", "target"), [(7, 7), (30, 128), (181, 128), (256, 100), (1, 9), (9, 1), (5, 64)]
)
def test_linear_weights_equal_torch_antialiased(source: int, target: int) -> None:
    line = np.random.default_rng(0).normal(size=(1, 1, source, 3))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(line), (target, 3), mode="bilinear", antialias=True, align_corners=False
    )
    resampled = linear_weights(source, target).astype(np.float64) @ line[0, 0]
    np.testing.assert_allclose(resampled, expected[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 20, 7), (12, 10, 30), (12, 20, 13), (3, 3, 3), (12, 20, 30)])
def test_resample_applies_weights_along_each_axis(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(1).normal(size=(12, 20, 13)).astype(np.float32)
    expected = volume.astype(np.float64)
    for axis, length in enumerate(shape):
        weights = linear_weights(volume.shape[axis], length).toarray().astype(np.float64)
        expected = np.moveaxis(np.tensordot(weights, expected, axes=(1, axis)), 0, axis)
    resampled = resample(volume, shape)
    assert resampled.dtype == np.float32
    np.testing.assert_allclose(resampled, expected, atol=1e-5)


def test_resample_preserves_zero_and_constants() -> None:
    volume = np.zeros((10, 12, 14), np.float32)
    volume[:, :6] = 3.0
    resampled = resample(volume, (7, 24, 9))
    assert (resampled[:, 13:] == 0).all()
    np.testing.assert_allclose(resampled[:, :11], 3.0, rtol=1e-6)


def test_nearest_indices_contain_the_centre() -> None:
    assert nearest_indices(4, 2).tolist() == [1, 3]
    assert nearest_indices(2, 4).tolist() == [0, 0, 1, 1]
    assert nearest_indices(1, 3).tolist() == [0, 0, 0]
    assert nearest_indices(5, 5).tolist() == [0, 1, 2, 3, 4]
