"""Compare affine and intensities of random files with nibabel in float64."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import inv_ornt_aff

from braindino.errors import ScanError, TooLargeError
from braindino.scans.reading import Scan, read_header, read_scan

DTYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
SHAPE = (7, 6, 5)


def random_image(rng: np.random.Generator) -> nib.Nifti1Image:
    """Write a NIfTI of random type, byte order, scaling and orientation, with a wide range of values."""
    order = str(rng.choice(["<", ">"]))
    dtype = np.dtype(order + str(rng.choice(DTYPES)))
    if dtype.kind == "f":
        stored = rng.normal(0, 10.0 ** rng.uniform(-3, 6), SHAPE).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        width = min(int(10 ** rng.uniform(1, 6)), limits.max - limits.min)
        low = int(rng.integers(limits.min, limits.max - width, dtype=dtype.newbyteorder("="), endpoint=True))
        stored = (rng.integers(0, width, SHAPE).astype(object) + low).astype(dtype)
    axes = rng.permutation(3)
    turn = np.stack([axes, rng.choice([-1, 1], 3)], axis=1)
    angle = rng.uniform(-0.3, 0.3)
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(rng.uniform(0.3, 6, 3))
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    image = nib.Nifti1Image(stored, affine @ inv_ornt_aff(turn, SHAPE), header)
    image.set_qform(image.affine if rng.random() < 0.5 else None, int(rng.integers(0, 2)))
    if rng.random() < 0.7:
        slope = float(np.float32(rng.choice([1.0, -1.0]) * 10.0 ** rng.uniform(-4, 3)))
        # Such as takes the stored numbers back to about 0, as writers of unsigned integers do.
        intercept = float(np.float32(-slope * float(stored.astype("f8").mean()) * rng.choice([0, 1, 1])))
        image.header["scl_slope"], image.header["scl_inter"] = slope, intercept
    return image


@pytest.mark.parametrize("seed", range(60))
def test_read_scan_equals_nibabel(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    image = random_image(rng)
    content = bytearray(image.to_bytes())  # which resets the scaling
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    assert header.endianness == image.header.endianness
    for field in ("scl_slope", "scl_inter"):
        header[field] = image.header[field]
    content[:348] = header.binaryblock
    path = tmp_path / ("a.nii.gz" if seed % 2 else "a.nii")
    path.write_bytes(gzip.compress(bytes(content), 1) if seed % 2 else bytes(content))
    expected = nib.load(path)
    proxy = expected.dataobj  # longdouble: float64 itself cannot tell large int64 apart
    values = proxy.get_unscaled().astype(np.longdouble) * proxy.slope + proxy.inter
    np.testing.assert_allclose(values.astype(float), expected.get_fdata(), rtol=1e-6)
    spread = values.max() - values.min()
    scan = read_or_none(path)
    if scan is None:
        coarse = np.spacing(np.abs(values).max().astype(np.float32))
        stored = np.spacing(np.abs(proxy.get_unscaled()).max().astype(np.float64)) * abs(proxy.slope)
        assert max(coarse, stored) > 1e-3 * spread
        return
    np.testing.assert_allclose(scan.affine, expected.affine, atol=1e-4)
    assert np.abs(scan.data - values).max() <= 1e-3 * spread


def read_or_none(path: Path) -> Scan | None:
    """Return a scan, or None if its grey levels are rejected."""
    try:
        return read_scan(path)
    except ScanError as error:
        if "float32 cannot distinguish them" not in error.reason:
            raise
        return None


def scaled(path: Path, stored: np.ndarray, slope: float, intercept: float) -> Path:
    content = bytearray(nib.Nifti1Image(stored, np.eye(4), dtype=stored.dtype).to_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(("dtype", "middle"), [("u4", 2.0**31), ("i4", -(2.0**30)), ("u8", 2.0**40)])
def test_read_scan_keeps_grey_levels_under_a_large_intercept(
    dtype: str, middle: float, tmp_path: Path
) -> None:
    grey = np.arange(210).reshape(7, 6, 5)
    path = scaled(tmp_path / "a.nii", (grey + int(middle)).astype(dtype), 1, -middle)
    np.testing.assert_array_equal(read_scan(path).data, grey)


@pytest.mark.parametrize("dtype", ["u4", "i8", "f8"])
def test_read_scan_rejects_values_that_float32_merges(dtype: str, tmp_path: Path) -> None:
    path = scaled(tmp_path / "a.nii", (np.arange(210).reshape(7, 6, 5) + 2**31).astype(dtype), 0, 0)
    with pytest.raises(ScanError, match=r"values from 2147483648 to 2147483857.*subtract the smallest"):
        read_scan(path)


def quaternion(path: Path, squared: float, sform_code: int) -> Path:
    """Write a qform of half a turn about z whose quaternion has a given squared length."""
    image = nib.Nifti1Image(np.arange(210, dtype=np.int16).reshape(7, 6, 5), np.diag([-2.0, -2, 2, 1]))
    image.header["qform_code"], image.header["sform_code"] = 1, sform_code
    content = bytearray(image.to_bytes())
    content[256:268] = np.array([0, 0, np.sqrt(squared)], "<f4").tobytes()
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("sform_code", [0, 1])
@pytest.mark.parametrize("squared", [1 + 4e-6, 1 + 5e-4, 1 - 4e-6])
def test_read_scan_accepts_quaternion_slightly_too_long(
    squared: float, sform_code: int, tmp_path: Path
) -> None:
    scan = read_scan(quaternion(tmp_path / "a.nii", squared, sform_code))
    assert scan.affine_source == ("sform" if sform_code else "qform")
    np.testing.assert_allclose(scan.affine[:3, :3], np.diag([-2, -2, 2]), atol=0.01)


def test_read_scan_rejects_invalid_quaternion(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"qform: quaternion of length 1\.225, expected at most 1"):
        read_scan(quaternion(tmp_path / "a.nii", 1.5, 1))


def test_read_scan_limits_voxels_before_reading(tmp_path: Path) -> None:
    path = scaled(tmp_path / "a.nii", np.ones(SHAPE, np.int16), 0, 0)
    with pytest.raises(
        TooLargeError, match=r"7 x 6 x 5 = 210 voxels, more than the 209 .*--max_voxels"
    ) as caught:
        read_scan(path, max_voxels=209)
    assert caught.value.voxels == 210
    assert read_scan(path, max_voxels=210).data.shape == SHAPE
    assert read_header(path).shape == SHAPE
