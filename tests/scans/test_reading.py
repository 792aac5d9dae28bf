"""Read sound files of every format and compare them with nibabel."""

import gzip
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.errors import ScanError
from braindino.scans.reading import MISSING, content_digest, files_of, read_header, read_scan, signature

AFFINE = np.array([[-1.2, 0.1, 0, 30], [0.1, 1.1, 0.2, -20], [0, -0.2, 2.0, 5], [0, 0, 0, 1]])
VALUES = np.random.default_rng(0).integers(0, 200, (9, 10, 11)).astype(np.int16)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_read_scan_reads_all_real_types_in_both_byte_orders(dtype: str, order: str, tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(order + dtype))
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image((VALUES % 100).astype(dtype), AFFINE, header), path)
    scan = read_scan(path)
    assert scan.data.dtype == np.float32
    np.testing.assert_array_equal(scan.data, VALUES % 100)
    np.testing.assert_allclose(scan.affine, nib.load(path).affine)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "with space ünïcødé 脳.nii.gz", "a.nii.mislabelled"])
def test_read_scan_detects_nifti_by_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    content = nib.Nifti1Image(VALUES, AFFINE).to_bytes()
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.data, VALUES)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-6)
    assert scan.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert scan.affine_source == "sform"
    np.testing.assert_allclose(scan.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0), rtol=1e-6)


def test_read_scan_reads_nifti_2_and_scaling(tmp_path: Path) -> None:
    header = nib.Nifti2Header()
    header.set_slope_inter(0.5, -3)
    header.set_data_dtype(np.int16)
    path = tmp_path / "two.nii"
    nib.save(nib.Nifti2Image(VALUES * 0.5 - 3, AFFINE, header), path)
    np.testing.assert_allclose(read_scan(path).data, nib.load(path).get_fdata(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("named", [".hdr", ".img"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_read_scan_reads_pair_by_either_name(named: str, packed: str, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, AFFINE), tmp_path / f"pair.img{packed}")
    scan = read_scan(tmp_path / f"pair{named}{packed}")
    np.testing.assert_array_equal(scan.data, VALUES)
    both = (tmp_path / f"pair.hdr{packed}").read_bytes() + (tmp_path / f"pair.img{packed}").read_bytes()
    assert scan.sha256 == hashlib.sha256(both).hexdigest()


def test_read_scan_reads_pair_with_different_case(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, AFFINE), tmp_path / "pair.img")
    (tmp_path / "pair.hdr").rename(tmp_path / "pair.HDR")
    for name in ("pair.HDR", "pair.img"):
        np.testing.assert_array_equal(read_scan(tmp_path / name).data, VALUES)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img"])
def test_read_header_and_content_digest_do_not_read_the_image(name: str, tmp_path: Path) -> None:
    image = nib.Nifti1Pair(VALUES, AFFINE) if name == "a.img" else nib.Nifti1Image(VALUES, AFFINE)
    nib.save(image, tmp_path / name)
    scan = read_scan(tmp_path / name)
    assert content_digest(tmp_path / name) == scan.sha256
    assert read_header(tmp_path / name).shape == VALUES.shape
    np.testing.assert_array_equal(read_header(tmp_path / name).affine, scan.affine)
    with pytest.raises(ScanError, match="there is no file"):
        read_header(tmp_path / "gone.nii")
    with pytest.raises(ScanError, match="cannot be read"):
        content_digest(tmp_path / "gone.nii")


def test_read_scan_reads_analyze_of_oasis(tmp_path: Path) -> None:
    """Big-endian int16 with a trailing axis of 1, without orientation: the first axis runs left."""
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    path = tmp_path / "OAS1_0001_MR1_mpr_n4_anon_111_t88_masked_gfc.img"
    nib.save(nib.AnalyzeImage(VALUES[..., None], np.diag([-1.0, 1, 1, 1]), header), path)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.data, VALUES)
    np.testing.assert_allclose(scan.affine, nib.load(path).affine)
    assert nib.aff2axcodes(scan.affine) == ("L", "A", "S")
    assert scan.affine_source == "analyze"


@pytest.mark.parametrize("name", ["brain.mgz", "brain.mgh"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_read_scan_reads_freesurfer(name: str, dtype: str, tmp_path: Path) -> None:
    nib.save(nib.MGHImage(VALUES.astype(dtype), AFFINE), tmp_path / name)
    scan = read_scan(tmp_path / name)
    np.testing.assert_array_equal(scan.data, VALUES.astype(dtype))
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)
    assert scan.affine_source == "mgh"


def test_read_scan_drops_axes_of_length_one(save: Callable[..., Path]) -> None:
    assert read_scan(save("a.nii", VALUES[..., None, None])).data.shape == (9, 10, 11)
    assert read_scan(save("b.nii", VALUES[:, :, :1])).data.shape == (9, 10, 1)


def test_read_scan_uses_qform_without_sform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.set_qform(np.diag([-2.0, 1, 1, 1]), code=1)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "q.nii")
    scan = read_scan(tmp_path / "q.nii")
    assert scan.affine_source == "qform"
    np.testing.assert_allclose(scan.affine, np.diag([-2.0, 1, 1, 1]), atol=1e-6)


def test_read_scan_without_position_equals_nibabel(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VALUES, None), tmp_path / "n.nii")
    image = nib.load(tmp_path / "n.nii")
    scan = read_scan(tmp_path / "n.nii")
    assert scan.affine_source == "none"
    np.testing.assert_allclose(scan.affine, image.affine)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0)])
def test_read_scan_converts_units_to_mm(unit: str, factor: float, tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([factor, factor, 2 * factor, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "u.nii")
    np.testing.assert_allclose(read_scan(tmp_path / "u.nii").spacing, (1, 1, 2), rtol=1e-6)


def test_read_scan_reads_gzip_of_several_members(tmp_path: Path) -> None:
    content = nib.Nifti1Image(VALUES, AFFINE).to_bytes()
    path = tmp_path / "members.nii.gz"
    path.write_bytes(gzip.compress(content[:700]) + gzip.compress(content[700:]))
    np.testing.assert_array_equal(read_scan(path).data, VALUES)


def test_signature_changes_with_either_file_of_a_pair(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, AFFINE), tmp_path / "pair.img")
    before = signature(tmp_path / "pair.img")
    assert before == signature(tmp_path / "pair.hdr")
    with (tmp_path / "pair.hdr").open("ab") as file:
        file.write(b"\0")
    assert signature(tmp_path / "pair.img") != before
    (tmp_path / "pair.hdr").unlink()
    assert signature(tmp_path / "pair.img") == MISSING
    assert files_of(Path("a/b.nii.gz")) == [Path("a/b.nii.gz")]


def test_scan_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ScanError(Path("a.nii"), "empty file", lasting=False)))
    assert (error.path, error.reason, error.lasting) == (Path("a.nii"), "empty file", False)
    assert str(error) == "a.nii: empty file"
