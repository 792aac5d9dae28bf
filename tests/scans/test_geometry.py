"""Resample masks to the prepared grid and exactly back."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import Geometry, mask_to_grid, restore_mask, restore_values
from braindino.scans.preprocessing import preprocess
from braindino.scans.reading import Scan

CONTRACT = Preprocessing(depth=48, size=(64, 56))


def ball(shape: tuple[int, int, int], centre: float = 0.5, radius: float = 0.3) -> np.ndarray:
    """Return a smooth mask, an ellipsoid that fills a part of the field of view."""
    axes = [(np.arange(n) + 0.5) / n - centre for n in shape]
    return np.stack([axis**2 for axis in np.meshgrid(*axes, indexing="ij")]).sum(axis=0) < radius**2


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Dice of two masks."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("shape", [(80, 70, 60), (40, 45, 50), (157, 189, 1), (64, 64, 20)])
@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_restore_mask_inverts_mask_to_grid(
    shape: tuple[int, int, int],
    codes: str,
    as_scan: Callable[..., Scan],
    reoriented: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    drawn = ball(shape) if shape[2] > 1 else ball((*shape[:2], 3))[:, :, 1:2]
    data, affine = reoriented(drawn.astype(np.float32), np.eye(4), codes)
    scan = as_scan(np.random.default_rng(0).uniform(1, 2, data.shape), affine)
    geometry = preprocess(scan, CONTRACT).geometry
    on_grid = mask_to_grid(as_scan(data, affine), geometry)
    assert on_grid.shape == (48, 64, 56)
    back = restore_mask(on_grid > 0.5, geometry)
    assert back.shape == data.shape
    assert dice(back, data > 0.5) >= 0.98


def test_restore_mask_mixes_no_labels(as_scan: Callable[..., Scan]) -> None:
    labels = np.zeros((40, 40, 40), np.float32)
    labels[ball((40, 40, 40), radius=0.4)] = 2
    labels[ball((40, 40, 40), radius=0.25)] = 7
    scan = as_scan(labels)
    geometry = preprocess(as_scan(np.random.default_rng(0).uniform(1, 2, labels.shape)), CONTRACT).geometry
    on_grid = mask_to_grid(scan, geometry)
    assert np.unique(on_grid).tolist() == [0, 2, 7]
    back = restore_mask(on_grid.astype(np.uint8), geometry)
    assert back.dtype == np.uint8
    for label in (0, 2, 7):
        assert dice(back == label, labels == label) >= 0.98


def test_restore_mask_is_exact_on_equal_grids(as_scan: Callable[..., Scan]) -> None:
    drawn = np.random.default_rng(0).integers(0, 3, (56, 64, 48)).astype(np.float32)
    affine = np.diag([-1.0, 1, 1, 1])
    geometry = preprocess(as_scan(drawn + 1, affine), CONTRACT).geometry
    on_grid = mask_to_grid(as_scan(drawn, affine), geometry).astype(np.uint8)
    np.testing.assert_array_equal(restore_mask(on_grid, geometry), drawn)


def test_grid_affine_maps_corners_of_both_grids_together(as_scan: Callable[..., Scan]) -> None:
    affine = np.array([[0, 0, -2.0, 30], [-1.5, 0, 0, 20], [0, 1.0, 0, -10], [0, 0, 0, 1]])
    geometry = preprocess(
        as_scan(np.random.default_rng(0).uniform(1, 2, (30, 20, 24)), affine), CONTRACT
    ).geometry

    def corners(shape: tuple[int, ...], to_mm: np.ndarray) -> np.ndarray:
        edges = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], [1], indexing="ij")).reshape(4, -1)
        return np.array(sorted((to_mm @ edges).T[:, :3].round(6).tolist()))

    np.testing.assert_allclose(
        corners(geometry.grid, geometry.grid_affine), corners((30, 20, 24), affine), atol=1e-5
    )
    directions = geometry.grid_affine[:3, :3]
    assert directions[2, 0] > 0  # slices up
    assert directions[1, 1] > 0  # rows forward
    assert directions[0, 2] > 0  # columns right


def test_geometry_round_trips_through_json(as_scan: Callable[..., Scan]) -> None:
    geometry = preprocess(as_scan(np.random.default_rng(0).uniform(1, 2, (10, 11, 12))), CONTRACT).geometry
    assert Geometry.from_dict(geometry.to_dict()) == geometry


def test_mask_to_grid_rejects_mask_of_other_scan(as_scan: Callable[..., Scan]) -> None:
    scan = as_scan(np.random.default_rng(0).uniform(1, 2, (20, 20, 20)))
    geometry = preprocess(scan, CONTRACT).geometry
    with pytest.raises(ScanError, match=r"mask of shape \(20, 20, 19\) on a scan of shape \(20, 20, 20\)"):
        mask_to_grid(as_scan(np.zeros((20, 20, 19))), geometry)
    shifted = np.eye(4)
    shifted[0, 3] = 3
    with pytest.raises(ScanError, match="a corner lies 3 mm away"):
        mask_to_grid(as_scan(np.zeros((20, 20, 20)), shifted), geometry)
    shifted[0, 3] = 0.01
    mask_to_grid(as_scan(np.zeros((20, 20, 20)), shifted), geometry)


def test_restore_mask_rejects_other_shapes_and_types(as_scan: Callable[..., Scan]) -> None:
    geometry = preprocess(as_scan(np.random.default_rng(0).uniform(1, 2, (20, 20, 20))), CONTRACT).geometry
    with pytest.raises(ValueError, match="prepared grid"):
        restore_mask(np.zeros((2, 2, 2), bool), geometry)
    with pytest.raises(ValueError, match="bool or integer"):
        restore_mask(np.zeros(geometry.grid), geometry)
    with pytest.raises(ValueError, match="prepared grid"):
        restore_mask(np.zeros(CONTRACT.size), replace(geometry, grid=(1, 2, 3)))


@pytest.mark.parametrize("codes", ["RAS", "PSR", "LIA"])
def test_restore_values_maps_patches_to_their_position(
    codes: str,
    as_scan: Callable[..., Scan],
    reoriented: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    data, affine = reoriented(np.ones((24, 30, 20), np.float32), np.eye(4), codes)
    scan = as_scan(data, affine)
    geometry = Geometry.of(scan, Preprocessing(depth=20, size=(32, 48)))
    # A linear function of space stays linear: a patch has the mean of its voxels.
    d, h, w = np.indices((20, 8, 12)).astype(np.float32)
    valid = np.ones((20, 8, 12), bool)
    valid[:, 0] = False
    back = restore_values(100 + d + 10 * h + 3 * w, valid, geometry)
    assert back.shape == scan.data.shape
    turned = geometry.to_slices(back)
    slices, rows, columns = turned.shape
    middle = turned[slices // 2, rows // 2]
    assert not turned[:, 0].any()  # the first row of patches is not valid
    inner = middle[4:-4]
    np.testing.assert_allclose(np.diff(inner), 3 * 12 / columns, atol=1e-3)
    row = turned[slices // 2, 8:-4, columns // 2]
    np.testing.assert_allclose(np.diff(row), 10 * 8 / rows, atol=1e-3)
