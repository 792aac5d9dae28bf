"""Accept legitimate differences of sform and qform and reject contradictions."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.errors import ScanError
from braindino.scans.reading import read_scan

VALUES = np.random.default_rng(0).integers(1, 200, (20, 24, 10)).astype(np.int16)
SCANNER = np.array([[-1.0, 0, 0, 10], [0, 1, 0, -12], [0, 0, 2, -10], [0, 0, 0, 1]])


def moved(x: float = 0, tilt: float = 0) -> np.ndarray:
    """Return the scanner's affine after a shift to the right [mm] and a tilt [degrees]."""
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return np.array([[1, 0, 0, x], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]]) @ SCANNER


def scaled(*by: float) -> np.ndarray:
    return SCANNER @ np.diag([*by, 1])


@pytest.mark.parametrize(
    ("sform", "sform_code", "qform_code", "reason"),
    [
        pytest.param(SCANNER, 1, 1, None, id="the same"),
        pytest.param(moved(x=0.9), 1, 1, None, id="less than a voxel apart"),
        pytest.param(moved(x=30, tilt=20), 2, 1, None, id="aligned to another scan"),
        pytest.param(moved(tilt=20) @ np.diag([1.2, 0.8, 0.9, 1]), 4, 1, None, id="in an atlas"),
        pytest.param(moved(x=30), 1, 0, None, id="qform unset"),
        pytest.param(moved(x=30), 1, 1, "both of code 1, lie 30 mm apart", id="moved in the one space"),
        pytest.param(moved(tilt=20), 4, 4, "both of code 4, lie .* mm apart", id="turned in the one space"),
        pytest.param(
            scaled(1, 1, 1.5), 2, 1, "voxels of 1 x 1 x 3 and qform gives 1 x 1 x 2", id="other voxels"
        ),
        pytest.param(scaled(-1, 1, 1), 4, 1, "RAS and qform gives LAS", id="mirrored, atlas or not"),
        pytest.param(moved(tilt=80), 2, 1, "sform gives LIA and qform gives LAS|LSP", id="other axes"),
    ],
)
def test_read_header_compares_sform_and_qform(
    sform: np.ndarray, sform_code: int, qform_code: int, reason: str | None, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.set_qform(SCANNER, code=qform_code)
    image.set_sform(sform, code=sform_code)
    nib.save(image, tmp_path / "a.nii")
    if reason is None:
        scan = read_scan(tmp_path / "a.nii")
        np.testing.assert_allclose(scan.affine, sform, atol=1e-5)
        assert scan.affine_source == "sform"
    else:
        with pytest.raises(ScanError, match=reason):
            read_scan(tmp_path / "a.nii")


def test_read_header_accepts_shear_that_qform_cannot_represent(tmp_path: Path) -> None:
    shear = np.eye(4)
    shear[1, 2] = 0.8  # slices pushed forward, as under a tilted gantry
    image = nib.Nifti1Image(VALUES, None)
    image.set_sform(SCANNER @ shear, code=1)
    image.set_qform(SCANNER @ shear, code=1)
    assert not np.allclose(image.get_qform(), image.get_sform(), atol=0.3)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_scan(tmp_path / "a.nii").affine, SCANNER @ shear, atol=1e-5)
