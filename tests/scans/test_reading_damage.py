"""Reject every kind of broken file with a reason that names the damage."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import read_scan
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store

GOOD = np.random.default_rng(0).integers(1, 200, (12, 12, 12)).astype(np.int16)
Make = Callable[[Path], Path]
CASES: dict[str, tuple[Make, str]] = {}


def case(reason: str) -> Callable[[Make], Make]:
    """Register a function that writes a broken file into a folder, with the reason to expect."""

    def register(make: Make) -> Make:
        CASES[make.__name__] = (make, reason)
        return make

    return register


def nifti(path: Path, data: np.ndarray = GOOD, affine: np.ndarray | None = None, **fields: object) -> Path:
    """Save NIfTI-1, then set header fields to whatever is wanted, right or wrong."""
    content = bytearray(nib.Nifti1Image(data, np.eye(4) if affine is None else affine).to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


@case("damaged gzip stream: CRC check failed")
def flipped_byte(folder: Path) -> Path:
    path = nifti(folder / "a.nii.gz")
    content = bytearray(path.read_bytes())
    for position in range(
        len(content) // 2, len(content) - 8
    ):  # the first flip that inflates without complaint
        content[position] ^= 1
        try:
            gzip.decompress(bytes(content))
        except gzip.BadGzipFile:
            path.write_bytes(bytes(content))
            nib.load(path)  # which is content with it
            return path
        except Exception:
            content[position] ^= 1
    raise AssertionError("no such byte")


@case("truncated: the gzip stream ends too early")
def truncated_gzip(folder: Path) -> Path:
    path = nifti(folder / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:-500])
    return path


@case("truncated: the header declares 3808 bytes, the file has 3700")
def truncated_nifti(folder: Path) -> Path:
    path = nifti(folder / "a.nii")
    path.write_bytes(path.read_bytes()[:3700])
    return path


@case("truncated: the header declares 3808 bytes, the file has 3700")
def truncated_before_it_was_packed(folder: Path) -> Path:
    path = folder / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(folder / "b.nii").read_bytes()[:3700]))
    return path


@case("empty file")
def empty(folder: Path) -> Path:
    (folder / "a.nii.gz").touch()
    return folder / "a.nii.gz"


@case("a pointer of git-annex or git-lfs")
def annex_pointer(folder: Path) -> Path:
    (folder / "a.nii.gz").write_text("/annex/objects/MD5E-s7864320--8e0e5e1d.nii.gz\n")
    return folder / "a.nii.gz"


@case("a pointer of git-annex or git-lfs")
def lfs_pointer(folder: Path) -> Path:
    (folder / "a.nii.gz").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    return folder / "a.nii.gz"


@case("broken link to .*SHA256E-s1--0.nii.gz")
def broken_link(folder: Path) -> Path:
    (folder / "a.nii.gz").symlink_to("../.git/annex/objects/SHA256E-s1--0.nii.gz")
    return folder / "a.nii.gz"


@case("there is no file")
def missing(folder: Path) -> Path:
    return folder / "a.nii.gz"


@case("there is no file a.img")
def half_a_pair(folder: Path) -> Path:
    nib.save(nib.Nifti1Pair(GOOD, np.eye(4)), folder / "a.img")
    (folder / "a.img").unlink()
    return folder / "a.hdr"


@case("the header belongs to a pair of .hdr and .img")
def header_under_another_name(folder: Path) -> Path:
    nib.save(nib.Nifti1Pair(GOOD, np.eye(4)), folder / "a.img")
    return (folder / "a.hdr").rename(folder / "a.nii")


@case("a folder, not a file")
def folder_in_its_place(folder: Path) -> Path:
    (folder / "a.nii").mkdir()
    return folder / "a.nii"


@case("neither NIfTI, Analyze nor MGH")
def some_text(folder: Path) -> Path:
    (folder / "a.nii").write_text("<html>404</html>" * 100)
    return folder / "a.nii"


@case("1 of 1728 voxels are NaN or infinite")
def nan(folder: Path) -> Path:
    data = GOOD.astype(np.float32)
    data[1, 2, 3] = np.nan
    return nifti(folder / "a.nii.gz", data)


@case("2 of 1728 voxels are NaN or infinite")
def infinite(folder: Path) -> Path:
    data = GOOD.astype(np.float64)
    data[1, 2, 3], data[3, 2, 1] = np.inf, 1e300  # the second is infinite in float32
    return nifti(folder / "a.nii.gz", data)


@case("constant volume")
def constant(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", np.where(GOOD > 100, 7, 0).astype(np.int16))


@case("constant volume: every voxel is 0")
def blank(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", GOOD * 0)


@case(r"2-D image of shape \(12, 12\)")
def two_d(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", GOOD[0])


@case(r"4-D image of shape \(12, 12, 12, 2\)")
def four_d(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", np.stack([GOOD, GOOD], axis=3))


@case("complex voxels")
def complex_valued(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", GOOD.astype(np.complex64))


@case("RGB voxels")
def rgb(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", np.zeros((12, 12, 12), np.dtype([(c, "u1") for c in "RGB"])))


@case("unknown data type 3")
def unknown_type(folder: Path) -> Path:
    return nifti(folder / "a.nii", datatype=3)


@case("data type 4 has 16 bits, the header declares 32")
def contradictory_type(folder: Path) -> Path:
    return nifti(folder / "a.nii", bitpix=32)


@case("zero-size")
def zero_size(folder: Path) -> Path:
    return nifti(folder / "a.nii", dim=[3, 12, 0, 12, 1, 1, 1, 1])


@case("header declares 9 dimensions")
def nine_dimensions(folder: Path) -> Path:
    return nifti(folder / "a.nii", dim=[9, 12, 12, 12, 1, 1, 1, 1])


@case("truncated: the header declares .* bytes, the file has 3808")
def shape_far_beyond_the_file(folder: Path) -> Path:
    return nifti(folder / "a.nii", dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])


@case("the file has more: header damaged")
def shape_far_below_the_file(folder: Path) -> Path:
    return nifti(folder / "a.nii.gz", np.ones((64, 64, 12), np.int16), dim=[3, 12, 12, 12, 1, 1, 1, 1])


@case("image starts at byte nan")
def offset_nan(folder: Path) -> Path:
    return nifti(folder / "a.nii", vox_offset=np.nan)


@case("image starts at byte 100, expected 352 or later")
def offset_in_the_header(folder: Path) -> Path:
    return nifti(folder / "a.nii", vox_offset=100)


@case("scaling: .*intercept")
def scaling_nan(folder: Path) -> Path:
    return nifti(folder / "a.nii", scl_slope=1, scl_inter=np.nan)


@case(r"singular affine \(sform\)")
def singular_affine(folder: Path) -> Path:
    return nifti(folder / "a.nii", srow_z=[0, 1, 0, 0], srow_y=[0, 1, 0, 0])


@case(r"affine \(sform\) contains NaN")
def nan_affine(folder: Path) -> Path:
    return nifti(folder / "a.nii", srow_x=[np.nan, 0, 0, 0])


@case("sform gives RAS and qform gives LAS")
def sform_unlike_qform(folder: Path) -> Path:
    return nifti(folder / "a.nii", qform_code=1, quatern_b=0, quatern_c=1, quatern_d=0, pixdim=[-1] + [1] * 7)


@case("sform gives voxels of 1 x 1 x 1 and qform gives 1 x 1 x 3")
def voxel_sizes_unlike(folder: Path) -> Path:
    return nifti(folder / "a.nii", qform_code=2, pixdim=[1, 1, 1, 3, 1, 1, 1, 1], sform_code=1)


@case("sform and qform, both of code 2, lie 40 mm apart")
def one_space_in_two_places(folder: Path) -> Path:
    return nifti(folder / "a.nii", sform_code=2, qform_code=2, qoffset_x=40)


@case(r"voxels of 1000 x 1000 x 1000 mm \(the header's unit is the metre\)")
def mm_called_metres(folder: Path) -> Path:
    return nifti(folder / "a.nii", xyzt_units=1)


@case("MGH data type 7")
def mgh_of_unknown_type(folder: Path) -> Path:
    nib.save(nib.MGHImage(GOOD.astype(np.int32), np.eye(4)), folder / "a.mgh")
    content = bytearray((folder / "a.mgh").read_bytes())
    content[20:24] = struct.pack(">i", 7)
    (folder / "a.mgh").write_bytes(bytes(content))
    return folder / "a.mgh"


@case("no permission to read it")
def unreadable(folder: Path) -> Path:
    path = nifti(folder / "a.nii.gz")
    path.chmod(0)
    return path


@case("4-D image")
def name_with_spaces_and_accents(folder: Path) -> Path:
    return nifti(folder / "Kopf, früh \u8133 .nii.gz", np.stack([GOOD, GOOD], axis=3))


@pytest.fixture(autouse=True)
def _permissions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse files without read permission, because root may read every file."""
    honest = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.exists() and not self.stat().st_mode & 0o400:
            raise PermissionError(13, "Permission denied", str(self))
        return honest(self, *args, **kwargs)

    if os.geteuid() == 0:
        monkeypatch.setattr(Path, "open", refuse)


def test_fill_rejects_all_broken_files_and_continues(tmp_path: Path) -> None:
    paths = []
    for name, (make, _) in CASES.items():
        (tmp_path / name).mkdir()
        paths.append(make(tmp_path / name))
    good = nifti(tmp_path / "good.nii.gz")
    store = Store.create(tmp_path / "store", Preprocessing(depth=4, size=(8, 8)))
    rows = pd.DataFrame({"path": [*paths[:20], good, *paths[20:]]})
    report = fill(store, rows, progress=False)
    assert (report.prepared, report.present, report.rejected) == (1, 0, len(CASES))
    assert store.index()["path"].tolist() == [str(good)]
    rejects = pd.read_csv(report.rejects).set_index("path")["reason"]
    for (name, (_, reason)), path in zip(CASES.items(), paths, strict=True):
        assert pd.Series([rejects[str(path)]]).str.contains(reason)[0], (name, rejects[str(path)])


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("constant", "blank")])
def test_read_scan_names_file_and_reason(name: str, tmp_path: Path) -> None:
    make, reason = CASES[name]
    path = make(tmp_path)
    with pytest.raises(ScanError, match=reason) as caught:
        read_scan(path)
    assert str(path) in str(caught.value)
    assert "\n" not in caught.value.reason


def test_scan_error_lasting_is_false_for_temporary_problems(tmp_path: Path) -> None:
    passing = {
        name
        for name, (make, _) in CASES.items()
        if name not in ("constant", "blank") and not _error(make, tmp_path / name).lasting
    }
    assert passing == {"broken_link", "missing", "half_a_pair", "unreadable"}


def _error(make: Make, folder: Path) -> ScanError:
    folder.mkdir()
    with pytest.raises(ScanError) as caught:
        read_scan(make(folder))
    return caught.value
