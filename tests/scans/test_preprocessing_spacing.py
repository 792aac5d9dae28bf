"""Prepare with a spacing: proportions are preserved, the scan is cropped or padded around its middle."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import mask_to_grid, restore_mask
from braindino.scans.preprocessing import decode, preprocess
from braindino.scans.reading import Scan
from braindino.scans.resampling import linear_weights, nearest_indices

PLAIN = Preprocessing(clip=(0, 100), normalise="minmax", dtype="float16", slice_axes=(0, 1, 2), spacing=1.0)


def brain(shape: tuple[int, int, int]) -> np.ndarray:
    values = np.random.default_rng(0).uniform(0.2, 1, shape)
    values.flat[0], values.flat[-1] = 1e-9, 1  # so that minmax leaves the values as they are
    return values


def test_preprocess_at_native_spacing_copies_voxels(
    as_scan: Callable[..., Scan],
) -> None:
    values = brain((10, 12, 14))
    prepared = preprocess(as_scan(values), PLAIN.replace(depth=16, size=(8, 14)))
    np.testing.assert_allclose(prepared.slices[3:13], values[:, 2:10], atol=1e-3)
    assert (prepared.slices[:3] == 0).all()
    assert (prepared.slices[13:] == 0).all()
    assert (prepared.first, prepared.last) == (3, 12)
    np.testing.assert_allclose(prepared.geometry.grid_affine @ [3, 0, 0, 1], [0, 2, 0, 1])


def test_preprocess_interpolates_thick_slices_to_spacing(as_scan: Callable[..., Scan]) -> None:
    values = brain((6, 6, 5))
    prepared = preprocess(as_scan(values, np.diag([1, 1, 3, 1])), PLAIN.replace(depth=6, size=(6, 15)))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values), 15, mode="linear", align_corners=False
    )
    np.testing.assert_allclose(prepared.slices, expected, atol=2e-3)
    np.testing.assert_allclose(np.abs(prepared.geometry.grid_affine[:3, :3]), np.eye(3))


def test_preprocess_depth_none_does_not_change_slices(as_scan: Callable[..., Scan]) -> None:
    contract = PLAIN.replace(depth=None, size=(12, 20), slice_axes=(2, 1, 0), spacing=2.0)
    prepared = preprocess(as_scan(brain((20, 20, 5)), np.diag([2, 1, 6, 1])), contract)
    assert prepared.slices.shape == (5, 12, 20)
    assert prepared.slices[:, 1:11].all()  # 20 mm of rows are ten pixels of the twelve
    assert not prepared.slices[:, [0, 11]].any()


def test_preprocess_fills_outside_with_negative_background(as_scan: Callable[..., Scan]) -> None:
    values = brain((8, 8, 8))
    values[:2] = 0
    contract = PLAIN.replace(normalise="zscore-background", depth=12, size=(8, 8), dtype="float16")
    prepared = preprocess(as_scan(values), contract)
    background = prepared.slices[1, 0, 0]  # the six slices with foreground are in the middle
    assert background < -1
    assert (prepared.slices[:3] == background).all()
    assert (prepared.slices[9:] == background).all()
    assert (prepared.slices[3:9] != background).all()
    bytes_ = preprocess(as_scan(values), contract.replace(dtype="uint8"))
    np.testing.assert_allclose(
        decode(bytes_.slices, bytes_.scale, bytes_.zero_point)[0], background, atol=0.02
    )


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
def test_restore_mask_is_empty_outside_the_crop(
    codes: str,
    as_scan: Callable[..., Scan],
    reoriented: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    labels = np.zeros((20, 18, 16), np.float32)
    labels[4:16, 5:14, 3:12] = 1
    labels[6:10, 7:10, 5:9] = 3
    data, affine = reoriented(labels, np.eye(4), codes)
    scan = as_scan(np.random.default_rng(0).uniform(1, 2, data.shape), affine)
    for depth, side in ((24, 26), (16, 18)):
        geometry = preprocess(scan, PLAIN.replace(depth=depth, size=(side, side))).geometry
        grid = mask_to_grid(as_scan(data, affine), geometry).astype(np.uint8)
        assert set(np.unique(grid)) == {0, 1, 3}
        back = restore_mask(grid, geometry)
        np.testing.assert_array_equal(back, data)
    tight = preprocess(scan, PLAIN.replace(depth=6, size=(6, 6))).geometry
    back = restore_mask(mask_to_grid(as_scan(data, affine), tight).astype(np.uint8), tight)
    assert (back > 0).sum() == (centre(labels, 6) > 0).sum()


def centre(labels: np.ndarray, side: int) -> np.ndarray:
    """Return the central cube of `labels`."""
    return labels[tuple(slice((n - side) // 2, (n + side) // 2) for n in labels.shape)]


def test_linear_weights_and_nearest_indices_agree_on_window() -> None:
    assert nearest_indices(4, 6, (-1, 6)).tolist() == [-1, 0, 1, 2, 3, -1]
    assert nearest_indices(6, 4, (1, 4)).tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(linear_weights(4, 6, (-1, 6)).toarray()[1:5], np.eye(4))
    assert not linear_weights(4, 6, (-1, 6)).toarray()[[0, 5]].any()
    np.testing.assert_array_equal(linear_weights(7, 5, (0, 7)).toarray(), linear_weights(7, 5).toarray())


@pytest.mark.parametrize("codes", ["RAS", "LPI"])
def test_preprocess_centres_on_foreground_or_field_of_view(
    codes: str,
    as_scan: Callable[..., Scan],
    reoriented: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    values = np.zeros((20, 30, 24))
    values[2:10, 20:28, 1:7] = brain((8, 8, 6))
    data, affine = reoriented(values, np.eye(4), codes)
    prepared = preprocess(as_scan(data, affine), PLAIN.replace(depth=10, size=(10, 8)))
    np.testing.assert_allclose(prepared.slices[1:9, 1:9, 1:7], values[2:10, 20:28, 1:7], atol=1e-3)
    assert np.count_nonzero(prepared.slices) == 8 * 8 * 6 - 1  # one voxel is 1e-9 before it is quantised
    np.testing.assert_allclose(prepared.geometry.grid_affine @ [1, 1, 1, 1], [2, 20, 1, 1])
    about_scan = preprocess(as_scan(data, affine), PLAIN.replace(depth=20, size=(10, 24), centre="scan"))
    np.testing.assert_allclose(about_scan.geometry.grid_affine @ [2, 0, 1, 1], [2, 10, 1, 1])


def test_preprocessing_rejects_impossible_spacing() -> None:
    with pytest.raises(BraindinoError, match=r"spacing is 0\.0, expected millimetres"):
        PLAIN.replace(spacing=0)
    with pytest.raises(BraindinoError, match="head or scan, and scan only with a spacing"):
        Preprocessing(centre="scan")
