import os
from dataclasses import fields
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.datasets.discovery import FoundVolume, find_scans, no_scan_error
from braindino.datasets.generic.bids import BIDS
from braindino.datasets.generic.folder import Folder
from braindino.datasets.manifest import ManifestBuilder
from braindino.datasets.sequences import sequence_in_name
from braindino.errors import LayoutError
from braindino.scans.dicom.series import Series


def scan(path: Path, size: int = 2000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my scans"
    for name in (
        "p1/T1 first.nii",
        "p1/t2.nii.gz",
        "Jürgen/MPRAGE.mgz",
        "p3/x.HDR",
        "p3/flair_brainmask.nii",
    ):
        scan(root / name)
    scan(root / "p3" / "x.img")
    scan(root / "p3" / "packed.hdr.gz")
    scan(root / "p3" / "packed.img.gz")
    scan(root / "p4" / "alone.hdr")
    (root / "p4" / "pointer.nii.gz").write_text("/annex/objects/SHA256E-s12--ab.nii.gz\n")
    (root / "p4" / "t1_small.nii.gz").write_bytes(b"\x1f\x8b" + bytes(300))
    scan(root / "p4" / "empty.nii.gz", 0)
    scan(root / "derivatives" / "p1" / "t1.nii")
    scan(root / "labels" / "p1.nii")
    scan(root / "p5" / "a.dcm")
    scan(root / "p5" / "b.dcm")
    scan(root / ".git" / "x.nii")
    scan(root / "p1" / "._t2.nii.gz")
    (root / "p4" / "broken.nii.gz").symlink_to(".git/annex/objects/nothing")
    (root / "p1" / "circle").symlink_to(root)
    return root


def test_folder_records_every_file_with_a_reason(folder: Path) -> None:
    manifest = Folder(folder).index(folder)
    used = {os.path.relpath(path, folder) for path in manifest.table["path"]}
    assert used == {
        "p1/T1 first.nii",
        "p1/t2.nii.gz",
        "Jürgen/MPRAGE.mgz",
        "p3/x.HDR",
        "p3/packed.hdr.gz",
        "p4/t1_small.nii.gz",
    }
    reasons = {
        os.path.relpath(str(row.path), folder): str(row.reason) for row in manifest.dropped.itertuples()
    }
    assert reasons["p3/flair_brainmask.nii"] == "mask or segmentation, by its name"
    assert reasons["p4/alone.hdr"] == "Analyze header without its .img"
    assert reasons["p4/pointer.nii.gz"].startswith("pointer to data that was not fetched")
    assert reasons["p4/empty.nii.gz"] == "empty file"
    assert reasons["labels/p1.nii"] == "mask or segmentation, by its name"
    assert reasons["p4/broken.nii.gz"] == "broken link"
    assert reasons["derivatives/p1/t1.nii"] == "derivative"
    assert reasons["p5"].startswith("DICOM series")
    assert set(manifest.table["group"]) >= {"my scans:p1", "my scans:Jürgen"}
    assert len(Folder(folder, derivatives=True).index(folder).table) == len(used) + 1


def test_folder_without_subfolders_makes_every_file_a_person(tmp_path: Path) -> None:
    scan(tmp_path / "a.nii")
    scan(tmp_path / "b.nii.gz")
    table = Folder(tmp_path).index(tmp_path).table
    assert table["subject"].tolist() == ["a", "b"]
    scan(tmp_path / "imagesTr" / "c.nii")
    scan(tmp_path / "train" / "d" / "T1.nii")
    scan(tmp_path / "train" / "e" / "T1.nii")
    table = Folder(tmp_path).index(tmp_path).table
    assert table["subject"].tolist() == ["a", "b", "c", "d", "e"]


def test_folder_ignores_a_folder_around_all_scans(tmp_path: Path) -> None:
    for name in ("export/all/p1/t1_masked.nii", "export/all/p1/b/x.nii", "export/all/p2/x.nii"):
        scan(tmp_path / name)
    assert Folder(tmp_path).index(tmp_path).table["subject"].tolist() == ["p1", "p1", "p2"]
    only = tmp_path / "export" / "all" / "p1"
    assert Folder(only.parent).index(only.parent).table["subject"].nunique() == 2
    scan(tmp_path / "one" / "p3" / "a.nii")
    scan(tmp_path / "one" / "p3" / "b.nii")
    assert Folder(tmp_path).index(tmp_path / "one").table["subject"].tolist() == ["p3", "p3"]


def test_folder_separates_equal_names_at_two_sites(tmp_path: Path) -> None:
    for name in (
        "siteA/sub-01/anat/sub-01_T1w.nii.gz", "siteB/rawdata/sub-01/sub-01_T1w.nii.gz",
        "siteB/sub-02_T1w.nii", "train/sub-03/T1w.nii", "ses-2/sub-03/T1w.nii", "visit_3/T2w/sub-03.nii",
        "siteB/derivatives/fsl/sub-01/sub-01_desc-brain_T1w.nii",
    ):  # fmt: skip
        scan(tmp_path / name)
    table = Folder(tmp_path, derivatives=True).index(tmp_path).table
    assert table["subject"].tolist() == ["03", "03", "03", "siteA_01", "siteB_01", "siteB_01", "siteB_02"]
    assert table["group"].nunique() == 4
    together = Folder(tmp_path, same_people=True).index(tmp_path).table
    assert together["subject"].tolist() == ["01", "01", "02", "03", "03", "03"]


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("sub-1_T1w", "T1w"), ("IXI012-HH-1211-T1", "T1w"), ("x_t1ce", "T1c"), ("BraTS-GLI-0-0-t2f", "FLAIR"),
        ("x_FLAIR", "FLAIR"), ("IXI-T2", "T2w"), ("IXI-PD", "PD"), ("MP-RAGE", "T1w"), ("scan 7", "unknown"),
        ("x_t1gd", "T1c"), ("x-t1n", "T1w"), ("OAS1_0001_MR1_mpr-1_anon", "T1w"),
    ],
)  # fmt: skip
def test_folder_recognises_sequences_by_name(name: str, modality: str) -> None:
    assert sequence_in_name(name) == modality


def test_folder_drops_localizers_and_phase_images(tmp_path: Path) -> None:
    for name in ("t1", "localizer", "AAHead_Scout_i0001", "swi_e1_ph", "subject1_x"):
        scan(tmp_path / "p1" / f"{name}.nii.gz")
    manifest = Folder(tmp_path).index(tmp_path)
    assert manifest.table["modality"].tolist() == ["T1w", "unknown"]
    assert manifest.table["blank_because"].tolist() == ["", "modality: no sequence in its name"]
    assert manifest.dropped["reason"].value_counts().to_dict() == {
        "localizer or scout, by its name": 2,
        "the phase of the signal, not its magnitude": 1,
    }


@pytest.mark.parametrize(
    ("description", "slices", "reason"),
    [
        ("localizer", 9, "localizer or scout, by its name"),
        ("", 3, "localizer or scout: a series of 3 slices"),
        ("t1_mprage", 9, ""),
        ("t1", 1, ""),
        ("swi_phase", 9, "the phase of the signal, not its magnitude"),
    ],
)
def test_folder_drops_series_that_are_no_scans(
    tmp_path: Path, description: str, slices: int, reason: str
) -> None:
    volume = tmp_path / "series_1.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((8, 8, slices), np.float32), np.eye(4)), volume)
    values = {field.name: "" for field in fields(Series)} | {"description": description}
    scan_file = FoundVolume(volume, Path("p1/series_1.nii.gz"), Series(**values))
    assert Folder(tmp_path)._exclusion_reason(scan_file) == reason


def test_folder_does_not_take_scans_for_masks(tmp_path: Path) -> None:
    for name in ("Segura_T1w", "Segovia-1_t1", "Labelle_flair"):
        scan(tmp_path / f"{name}.nii.gz")
    for name in (
        "p1_seg",
        "p1_dseg",
        "p1_segmentation",
        "p1_brainmask",
        "p1_labels",
        "p1-lesion",
        "p1_wmseg2",
    ):
        scan(tmp_path / f"{name}.nii.gz")
    manifest = Folder(tmp_path).index(tmp_path)
    assert manifest.table["modality"].tolist() == ["FLAIR", "T1w", "T1w"]
    assert len(manifest.dropped) == 7


def test_folder_reads_sessions_from_whole_words(tmp_path: Path) -> None:
    scan(tmp_path / "glasses-3" / "p1" / "t1.nii")
    scan(tmp_path / "x" / "ses-2_t1.nii")
    assert set(Folder(tmp_path).index(tmp_path).table["session"]) == {"", "2"}


def test_find_scans_raises_for_a_missing_or_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="found an empty folder"):
        raise no_scan_error(tmp_path, "x", "y")
    with pytest.raises(LayoutError, match="no such folder"):
        list(find_scans(tmp_path / "no", ManifestBuilder("x")))
    scan(tmp_path / "file.nii")
    with pytest.raises(LayoutError, match="is not a folder"):
        list(find_scans(tmp_path / "file.nii", ManifestBuilder("x")))


def test_bids_reads_entities_and_participants(tmp_path: Path) -> None:
    root = tmp_path / "ds1"
    for name in (
        "sub-01/ses-a/anat/sub-01_ses-a_acq-hi_run-1_T1w.nii.gz",
        "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz",
        "sub-02/anat/sub-02_inplaneT2.nii.gz", "sub-02/anat/sub-02_label-L_desc-lesion_mask.nii.gz",
        "sub-03/anat/sub-03_FLAIR.nii.gz", "derivatives/x/sub-03/anat/sub-03_T1w.nii.gz",
        "sub-04/anat/T1w.nii.gz",
    ):  # fmt: skip
        scan(root / name)
    (root / "participants.tsv").write_bytes(
        b"\xef\xbb\xbfparticipant_id\tGender\tage\tgroup\r\nsub-01\tFEMALE\t34.5\tx\r\nsub-02\tm\tn/a\tx\r\n03\tn/a\t089Y\tx\r\n"
    )
    manifest = BIDS(root).index(root)
    rows = manifest.table.set_index("subject")
    assert list(rows.loc["01", ["session", "modality", "acq", "run", "sex", "age"]]) == [
        "a",
        "T1w",
        "hi",
        "1",
        "F",
        34.5,
    ]
    assert rows.loc["02", "modality"] == "T2w"
    assert rows.loc["02", "sex"] == "M"
    assert rows["age"].isna().tolist() == [False, True, False]
    assert rows.loc["03", "age"] == 89
    assert set(manifest.table["group"]) == {"ds1:01", "ds1:02", "ds1:03"}
    assert manifest.dropped["reason"].value_counts().to_dict() == {
        "suffix bold is not wanted": 1,
        "mask or segmentation, by its name": 1,
        "derivative": 1,
        "no sub-<label> in its name": 1,
    }
    only = BIDS(root, suffixes=("FLAIR",)).index(root)
    assert only.table["subject"].tolist() == ["03"]


def test_bids_separates_datasets_in_one_folder(tmp_path: Path) -> None:
    scan(tmp_path / "ds1" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    scan(tmp_path / "ds2" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    table = BIDS(tmp_path).index(tmp_path).table
    assert table["group"].tolist() == ["ds1:01", "ds2:01"]
    assert table["dataset"].tolist() == ["ds1", "ds2"]


def test_bids_names_equal_dataset_folders_by_their_parents(tmp_path: Path) -> None:
    for top in ("A/rawdata", "B/rawdata", "eu/A", "ses-1", "ses-2"):
        scan(tmp_path / "corpus" / top / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    table = BIDS(tmp_path / "corpus").index(tmp_path / "corpus").table
    assert table["group"].tolist() == ["A:01", "B:01", "corpus:01", "corpus:01", "eu/A:01"]


def test_find_scans_does_not_open_freesurfer_surfaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("s1/mri/T1.mgz", "s1/surf/lh.white", "s1/surf/rh.curv.pial", "s1/label/lh.aparc.annot"):
        scan(tmp_path / name)
    monkeypatch.setattr("braindino.datasets.discovery.is_dicom", lambda path: pytest.fail(f"opened {path}"))
    rows = ManifestBuilder("x")
    assert [path.name for path in find_scans(tmp_path, rows)] == ["T1.mgz"]
    assert len(rows.build().passed_over) == 3


def test_bids_without_a_scan_lists_reasons_of_excluded_files(tmp_path: Path) -> None:
    scan(tmp_path / "sourcedata" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    with pytest.raises(LayoutError, match="Excluded: 1 x sourcedata"):
        BIDS(tmp_path).index(tmp_path)
