"""People by PatientID: of folders, of ADNI, and of scans that a probe answers."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.datasets.discovery import FoundVolume
from braindino.datasets.generic.patients import patient_note, people_of
from braindino.datasets.manifest import ManifestBuilder
from braindino.datasets.public.adni import ADNI, ArchiveImage
from braindino.probing.predict.inputs import find_cases
from braindino.scans.dicom.headers import PatientDigests, known_patient
from braindino.scans.dicom.series import SEVERAL, Series


def volume(folder: str, patient: str | None, message: str = "", name: str = "t1.nii.gz") -> FoundVolume:
    """A scan in a folder: of DICOM with a patient ("" without one), else (None) a file."""
    inside = Path(folder, name)
    series = None if patient is None else Series(folder, "1.2", "1", "T1", patient, str(inside), message, "")
    return FoundVolume(Path("/out") / inside, inside, series)


@pytest.mark.parametrize(
    ("scans", "people"),
    [
        ([("a", "P"), ("b", "Q")], ["a", "b"]),
        ([("a", "P"), ("b", "P")], ["patient-P", "patient-P"]),
        ([("a", "P"), ("a", "Q")], ["a_P", "a_Q"]),
        ([("a", ""), ("b", "")], ["a", "b"]),
        ([("a", "P"), ("a", ""), ("a", None)], ["a", "a", "a"]),
        ([("a", "P"), ("b", "P"), ("b", None)], ["patient-P"] * 3),
        ([("a", "P"), ("a", "Q"), ("a", None)], ["a_P", "a_Q", "a"]),
        ([("a", "P"), ("b", "P"), ("b", "Q")], ["patient-P", "patient-P", "b_Q"]),
    ],
)
def test_people_of_names_patients_and_folders(scans: list[tuple[str, str | None]], people: list[str]) -> None:
    folders = [folder for folder, _ in scans]
    assert people_of([volume(*scan) for scan in scans], folders) == people


@pytest.mark.parametrize("seed", range(20))
def test_people_of_is_the_patient_however_files_are_arranged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = [f"P{int(k)}" for k in rng.integers(0, 6, 30)]
    folders = [f"f{int(k)}" for k in rng.integers(0, 6, 30)]
    people = people_of([volume(f, p) for f, p in zip(folders, patients, strict=True)], folders)
    assert len(set(zip(people, patients, strict=True))) == len(set(people)) == len(set(patients))


def test_patient_note_gives_the_reason_why_the_folder_is_the_person() -> None:
    assert patient_note(volume("a", None)) == patient_note(volume("a", "P")) == ""
    assert patient_note(volume("a", "")).startswith("PatientID: no PatientID")
    assert patient_note(volume("a", "", f"x; {SEVERAL}")) == f"PatientID: {SEVERAL}"


@pytest.mark.parametrize(
    "text", ["", " ", "0", "000", "ANON", "Anonymous", "anonymized", "N/A", "Patient ID", "X"]
)
def test_known_patient_rejects_placeholders(text: str) -> None:
    assert known_patient(text, "Clinic") == ()


@pytest.mark.parametrize(
    "text", ["1", "0012", "PAT7", "A", "anon-0012", "Anonymous_17", "subject1", "Ü-1", "E0"]
)
def test_known_patient_takes_ids(text: str) -> None:
    assert known_patient(f" {text} ", "Clinic") == (text, "Clinic")


def test_patient_digests_differ_by_issuer_and_key(tmp_path: Path) -> None:
    one, again, other = (PatientDigests(tmp_path / name) for name in ("a", "a", "b"))
    digest = one.of_patient(("7", "X"))
    assert digest == again.of_patient(("7", "X"))
    patients = [("7", "X"), ("7", "Y"), ("7X", "")]
    assert len({*map(one.of_patient, patients), other.of_patient(("7", "X"))}) == 4
    assert hashlib.blake2b(b"patient\x007\x00X", digest_size=6).hexdigest() != digest
    assert one.of_patient(()) == ""
    assert one.name != other.name


def test_adni_takes_the_person_from_the_patient_id(tmp_path: Path) -> None:
    """The archive writes the person into PatientID; a folder may have another person's series."""
    data, rows = ADNI(tmp_path, dicom=tmp_path / "out"), ManifestBuilder("adni")
    digests = PatientDigests(tmp_path / "out")
    one, two, three = "002_S_0001", "002_S_0002", "002_S_0003"
    by = {person: digests.of_patient((person, "")) for person in (one, two, three)}
    images = [
        ArchiveImage(volume(one, by[one]), one, 1),
        ArchiveImage(volume(one, by[two]), one, 2),
        ArchiveImage(volume(two, by[two]), two, 3),
        ArchiveImage(volume(three, "other"), three, 4),
        ArchiveImage(volume(three, "another"), three, 5),
        ArchiveImage(volume(two, None), two, 6),
    ]
    consistent = [(image.subject, image.number) for image in data._drop_mixed_patients(images, rows)]
    assert consistent == [(one, 1), (two, 2), (two, 3), (two, 6)]
    assert rows.build().dropped["reason"].str.contains("several PatientIDs").sum() == 2


def test_find_cases_makes_a_case_of_each_patient_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(folders: list[Path], root: Path, out: Path, *_: object) -> Iterator[Series]:
        for patient, name in (("aa", "T1"), ("aa", "FLAIR"), ("bb", "T1")):
            path = Path(f"{name}_{patient}.nii.gz")
            out.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.int16), np.eye(4)), out / path)
            yield Series(str(folders[0]), "1", "1", name, patient, str(path), "", "")

    monkeypatch.setattr("braindino.datasets.discovery.convert_series", convert)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "IM1").write_bytes(bytes(128) + b"DICM")
    cases, refused = find_cases([tmp_path / "p"], ("T1w", "FLAIR"), tmp_path / "made")
    assert {case: sorted(scans) for case, scans in cases.items()} == {
        "sub-paa": ["FLAIR", "T1w"],
        "sub-pbb": ["T1w"],
    }
    assert refused == []
