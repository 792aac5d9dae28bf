"""Identify people by the PatientID of DICOM series, or by folders where there is none."""

from collections import defaultdict
from collections.abc import Sequence

from braindino.datasets.discovery import FoundVolume
from braindino.scans.dicom.series import NO_PATIENT, SEVERAL


def people_of(scans: Sequence[FoundVolume], folders: Sequence[str]) -> list[str]:
    """Return the name of each scan's person.

    A patient is one person, even if the series are in several folders. The person has the name of the folder
    if the folder has no other patient and the patient no other folder. Scans without a PatientID (or not from
    DICOM) belong to the only patient of their folder, else to the folder.

    Args:
        scans: scans of a dataset.
        folders: the name of each scan's person by its folders.
    """
    patients: dict[str, set[str]] = defaultdict(set)
    names: dict[str, set[str]] = defaultdict(set)
    for scan, folder in zip(scans, folders, strict=True):
        if patient := _patient(scan):
            patients[folder].add(patient)
            names[patient].add(folder)

    def name_of(patient: str) -> str:
        if len(names[patient]) > 1:
            return f"patient-{patient}"
        (folder,) = names[patient]
        return folder if len(patients[folder]) == 1 else f"{folder}_{patient}"

    people = []
    for scan, folder in zip(scans, folders, strict=True):
        patient = _patient(scan)
        if not patient and len(patients[folder]) == 1:
            (patient,) = patients[folder]
        people.append(name_of(patient) if patient else folder)
    return people


def patient_note(scan: FoundVolume) -> str:
    """Return why the person of a DICOM series is that of the folder, or `""`."""
    if scan.series is None or scan.series.patient:
        return ""
    return f"PatientID: {SEVERAL if SEVERAL in scan.series.message else NO_PATIENT}"


def _patient(scan: FoundVolume) -> str:
    """Return the digest of a scan's patient, or `""`."""
    return scan.series.patient if scan.series is not None else ""
