"""Check the contract, and prepared slices against a slow float64 reference."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from docstring_parser import DocstringStyle, parse

from braindino.errors import BraindinoError, ScanError
from braindino.scans.contract import PRESETS, Preprocessing
from braindino.scans.geometry import Geometry
from braindino.scans.headers import Layout
from braindino.scans.preprocessing import Prepared, decode, preprocess
from braindino.scans.reading import Scan

SMALL = Preprocessing(depth=12, size=(24, 20))


def reference(ras: np.ndarray, contract: Preprocessing) -> np.ndarray:
    """Reorient, clip, normalise, resample in the plane and then along the depth, in float64."""
    volume = ras.astype(np.float64).transpose(contract.slice_axes)
    inside = volume != 0
    low, high = np.percentile(volume[inside], contract.clip)
    clipped = np.clip(volume, low, high)
    if contract.normalise == "minmax":
        values = np.where(inside, (clipped - low) / (high - low), 0)
    else:
        mean, deviation = clipped[inside].mean(), clipped[inside].std()
        if contract.normalise == "zscore-clipped":
            lifted = np.clip(volume, low, high)
            mean, deviation = lifted[lifted > 0].mean(), lifted[lifted > 0].std()
        background = {
            "zscore-nonzero": 0,
            "zscore-clipped": (np.clip(0, low, high) - mean) / deviation,
            "zscore-background": (0 - mean) / deviation,
        }[contract.normalise]
        values = np.where(inside, (clipped - mean) / deviation, background)
    resize = torch.nn.functional.interpolate
    planes = resize(torch.from_numpy(values)[:, None], contract.size, mode="bilinear", antialias=True)[:, 0]
    if contract.depth is None:
        return planes.numpy()
    stack = planes.reshape(1, 1, len(planes), -1)
    stack = resize(stack, (contract.depth, stack.shape[-1]), mode="bilinear", antialias=True)
    return stack.reshape(contract.depth, *contract.size).numpy()


@pytest.mark.parametrize(
    "contract",
    [
        SMALL,
        SMALL.replace(normalise="minmax", clip=(2, 90)),
        SMALL.replace(normalise="zscore-background", clip=(1, 99)),
        SMALL.replace(normalise="zscore-clipped", clip=(1, 99)),
        SMALL.replace(normalise="zscore-clipped", clip=(1, 99), dtype="float16"),
        SMALL.replace(depth=None),
        SMALL.replace(depth=40, size=(9, 33), slice_axes=(0, 2, 1)),
        SMALL.replace(dtype="float16"),
    ],
)
def test_preprocess_equals_float64_reference_within_quantisation(
    contract: Preprocessing, head: Callable[..., np.ndarray], as_scan: Callable[..., Scan]
) -> None:
    volume = head()
    prepared = preprocess(as_scan(volume), contract)
    expected = reference(volume, contract)
    assert prepared.slices.shape == expected.shape
    assert prepared.slices.dtype == contract.dtype
    tolerance = 0.5 * prepared.scale + 1e-5 if contract.dtype == "uint8" else 2e-3
    np.testing.assert_allclose(
        decode(prepared.slices, prepared.scale, prepared.zero_point), expected, atol=tolerance
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 48 voxels of 1, background among them, and 16 of 3: mean 1.5, deviation 3 ** 0.5 / 2
        ((0, 0, 1, 3), (-(3**-0.5), -(3**-0.5), -(3**-0.5), 3**0.5)),
        # a negative lower percentile lifts nothing; 2 and 4 alone are above 0: mean 3, deviation 1
        ((0, -2, 2, 4), (-3, -5, -1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_preprocess_released_code_clips_background_before_statistics(
    values: tuple[int, ...], expected: tuple[float, ...], dtype: str, as_scan: Callable[..., Scan]
) -> None:
    volume = np.repeat(np.array(values, np.float32), 16).reshape(4, 4, 4)
    contract = Preprocessing.preset("released-code", clip=(0, 100), depth=4, size=(4, 4), dtype=dtype)
    prepared = preprocess(as_scan(volume), contract)
    decoded = decode(prepared.slices, prepared.scale, prepared.zero_point)
    by_hand = np.repeat(np.array(expected), 16).reshape(4, 4, 4).transpose(2, 0, 1)
    np.testing.assert_allclose(decoded, by_hand, atol=0.5 * prepared.scale if dtype == "uint8" else 4e-3)


def test_preprocess_released_code_has_mean_0_and_deviation_1(
    head: Callable[..., np.ndarray], as_scan: Callable[..., Scan]
) -> None:
    contract = Preprocessing.preset("released-code", depth=16, size=(20, 24), dtype="float16")
    values = preprocess(as_scan(head()), contract).slices.astype(np.float64)  # on the scan's own grid
    assert abs(values.mean()) < 1e-3
    assert abs(values.std() - 1) < 1e-3
    background = head().transpose(2, 0, 1) == 0
    np.testing.assert_array_equal(values[background], values.min())


def test_preprocess_released_code_rejects_scan_without_positive_voxels(as_scan: Callable[..., Scan]) -> None:
    volume = -np.random.default_rng(0).uniform(1, 2, (8, 8, 8)).astype(np.float32)
    with pytest.raises(ScanError, match="no voxel is above 0"):
        preprocess(as_scan(volume), Preprocessing.preset("released-code"))


@pytest.mark.parametrize("name", ["paper", "minmax"])
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_preprocess_background_is_exactly_zero(
    name: str, dtype: str, head: Callable[..., np.ndarray], as_scan: Callable[..., Scan]
) -> None:
    contract = Preprocessing.preset(name, depth=16, size=(24, 20), dtype=dtype)
    volume = head((20, 24, 16))  # the grid of the contract: nothing is mixed with its neighbours
    prepared = preprocess(as_scan(volume), contract)
    values = decode(prepared.slices, prepared.scale, prepared.zero_point)
    assert (values[volume.transpose(2, 1, 0) == 0] == 0).all()
    assert np.count_nonzero(values) > 1000


@pytest.mark.parametrize("codes", ["LAS", "PSR", "IRP", "ASL"])
def test_preprocess_is_independent_of_stored_orientation(
    codes: str,
    head: Callable[..., np.ndarray],
    as_scan: Callable[..., Scan],
    reoriented: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    affine = np.diag([1.0, 1.2, 2.0, 1.0])
    volume = head()
    expected = preprocess(as_scan(volume, affine), SMALL)
    data, turned = reoriented(volume, affine, codes)
    assert "".join(nib.aff2axcodes(turned)) == codes
    prepared = preprocess(as_scan(data, turned), SMALL)
    steps = np.abs(prepared.slices.astype(int) - expected.slices.astype(int))
    assert steps.max() <= 1  # axes are summed in another order: the last bit may round the other way
    assert (steps > 0).mean() < 1e-3
    assert (prepared.first, prepared.last) == (expected.first, expected.last)


def test_preprocess_cuts_oblique_scan_along_its_own_axes(
    head: Callable[..., np.ndarray],
    as_scan: Callable[..., Scan],
    reoriented: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    angle = np.deg2rad(25)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    data, turned = reoriented(head(), np.eye(4), "LPS")
    prepared = preprocess(as_scan(data, tilt @ turned), SMALL)
    np.testing.assert_array_equal(prepared.slices, preprocess(as_scan(data, turned), SMALL).slices)


def test_preprocess_paper_runs_up_forward_right(as_scan: Callable[..., Scan]) -> None:
    volume = np.ones((8, 8, 8), np.float32)
    volume[7, 7, 7] = 9  # right, front, top
    volume[0, 0, 0] = 5
    prepared = preprocess(as_scan(volume), Preprocessing(depth=8, size=(8, 8), clip=(0, 100)))
    assert list(np.unravel_index(prepared.slices.argmax(), (8, 8, 8))) == [7, 7, 7]


def test_preprocess_first_and_last_bound_the_foreground(as_scan: Callable[..., Scan]) -> None:
    volume = np.zeros((10, 10, 20), np.float32)
    volume[2:8, 2:8, 5:15] = np.random.default_rng(0).uniform(1, 2, (6, 6, 10))
    prepared = preprocess(as_scan(volume), Preprocessing(depth=40, size=(10, 10)))
    assert (prepared.first, prepared.last) == (10, 29)


@pytest.mark.parametrize("shape", [(157, 189, 1), (32, 32, 30)])
def test_preprocess_accepts_one_slice_and_thick_slices(
    shape: tuple[int, int, int], as_scan: Callable[..., Scan]
) -> None:
    scan = as_scan(np.random.default_rng(0).uniform(1, 2, shape), np.diag([1, 1, 5.0, 1]))
    assert preprocess(scan, SMALL).slices.shape == (12, 24, 20)
    unresampled = preprocess(scan, SMALL.replace(depth=None))
    assert unresampled.slices.shape == (shape[2], 24, 20)
    assert (unresampled.first, unresampled.last) == (0, shape[2] - 1)


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (np.zeros((8, 8, 8)), "every voxel is 0"),
        (np.full((8, 8, 8), 7.0), "constant"),
        (np.random.default_rng(0).uniform(1, 2, (1, 30, 30)), "too thin"),
        (np.linspace(-3e38, 3e38, 512).reshape(8, 8, 8), "values from"),
    ],
)
def test_preprocess_rejects_constant_and_thin_volumes(
    volume: np.ndarray, reason: str, as_scan: Callable[..., Scan]
) -> None:
    with pytest.raises(ScanError, match=reason):
        preprocess(as_scan(volume), SMALL)


@pytest.mark.parametrize("factor", [1e-30, 1e25])
def test_preprocess_is_independent_of_input_scale(
    factor: float, head: Callable[..., np.ndarray], as_scan: Callable[..., Scan]
) -> None:
    prepared = preprocess(as_scan(head() * np.float32(factor)), SMALL).slices.astype(int)
    assert np.abs(prepared - preprocess(as_scan(head()), SMALL).slices.astype(int)).max() <= 1


def test_preprocess_does_not_change_the_scan(
    head: Callable[..., np.ndarray], as_scan: Callable[..., Scan]
) -> None:
    scan = as_scan(head())
    preprocess(scan, SMALL)
    np.testing.assert_array_equal(scan.data, head())


def test_decode_broadcasts_scales_in_numpy_and_torch() -> None:
    slices = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 5, 6), dtype=np.uint8)
    scale, zero_point = np.full((2, 3), 0.5), np.arange(6.0).reshape(2, 3)
    expected = np.stack([[(slices[b, m] - zero_point[b, m]) * 0.5 for m in range(3)] for b in range(2)])
    np.testing.assert_array_equal(decode(slices, scale, zero_point), expected)
    tensor = decode(torch.from_numpy(slices), torch.from_numpy(scale), torch.from_numpy(zero_point))
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), expected)
    np.testing.assert_array_equal(decode(slices[0, 0], 0.5, 1.0), (slices[0, 0] - 1.0) * 0.5)


def test_preprocessing_round_trips_through_json() -> None:
    for contract in PRESETS.values():
        again = Preprocessing.from_dict(contract.to_dict())
        assert again == contract
        assert hash(again) == hash(contract)
        assert again.digest == contract.digest
    assert len({contract.digest for contract in PRESETS.values()}) == len(PRESETS)
    assert Preprocessing(clip=(1, 99)).digest == Preprocessing(clip=(1.0, 99.0)).digest


def test_preset_takes_overrides_and_difference_lists_them() -> None:
    contract = Preprocessing.preset("released-code", depth=None)
    assert contract == PRESETS["released-code"].replace(depth=None)
    assert Preprocessing(depth=64).difference(Preprocessing()) == ["depth: 64 here, 128 there"]
    assert Preprocessing().difference(Preprocessing()) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"orientation": "RAP"}, "orientation"),
        ({"orientation": "RA"}, "orientation"),
        ({"slice_axes": (0, 0, 1)}, "slice_axes"),
        ({"clip": (99, 1)}, "clip"),
        ({"normalise": "z"}, "normalise"),
        ({"depth": 0}, "depth"),
        ({"size": (256,)}, "size"),
        ({"size": "large"}, "preprocessing"),
        ({"dtype": "int16"}, "dtype"),
        ({"colour": 1}, "colour"),
    ],
)
def test_preprocessing_rejects_impossible_field(change: dict[str, object], named: str) -> None:
    with pytest.raises(BraindinoError, match=named):
        Preprocessing.from_dict(change)


def test_preset_lists_known_names() -> None:
    with pytest.raises(BraindinoError, match="paper, released-code, minmax"):
        Preprocessing.preset("papier")


@pytest.mark.parametrize("kind", [Preprocessing, Prepared, Geometry, Scan, Layout])
def test_fields_are_documented(kind: type[Any]) -> None:
    docstring = parse(kind.__doc__ or "", DocstringStyle.GOOGLE)
    documented = [part.arg_name for part in docstring.params if part.args[0] == "attribute"]
    assert documented == [field.name for field in fields(kind)]
    assert all(part.description for part in docstring.params)
