"""LONG579 (OpenNeuro ds003604): children scanned at about 5, 7 and 9 years; age from T1w."""

import re
from pathlib import Path
from typing import ClassVar

import pandas as pd

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.generic.bids import entities
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.tables import read_table

SESSIONS = ("5", "7", "9")
_SUBJECT = re.compile(r"^5\d{3}$")
MAX_AGE = 20.0  # years; the study scanned children, so that a larger age is an error in a date


class LONG579(ScanDataModule):
    """Age in years at the scan of a session, grouped by child (one to three sessions each).

    Age is the time from the date of birth in `participants.tsv` to the session's date; all dates of a child
    are shifted by the same span, into the 19th century. If a session has several T1w scans, the first by name
    is taken. Sessions without an age, or with an impossible one (not within 0-20 years), are dropped.

    Args:
        root: folder that holds `sub-5XXX/` and `participants.tsv`, or a manifest.
        store: folder of prepared scans.
        **options: see `ScanDataModule`.
    """

    name = "long579"
    target: ClassVar[tuple[str, ...]] = ("age",)

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the BIDS folder."""
        rows = ManifestBuilder(self.name)
        sessions = _sessions(root, rows)
        if not sessions:
            raise no_scan_error(root, self.name, "sub-5XXX/ses-{5,7,9}/anat/sub-5XXX_ses-7_..._T1w.nii.gz")
        people = _people(root / "participants.tsv")
        for (subject, session), scans in sorted(sessions.items()):
            first, *rest = sorted(scans)
            for path in rest:
                rows.drop(path, subject, "another scan of the session is preferred")
            person = people.get(subject)
            if person is None:
                rows.drop(first, subject, "not in participants.tsv")
                continue
            age = _years(person["birthdate"], person.get(session, ""))
            if age is None:
                rows.drop(first, subject, "no age: a date is missing")
            elif not 0 < age < MAX_AGE:
                rows.drop(first, subject, "no age: the dates contradict each other")
            else:
                rows.keep(first, subject, "T1w", session=session, sex=person.get("sex", ""), age=age)
        return rows.build()


def _sessions(root: Path, rows: ManifestBuilder) -> dict[tuple[str, str], list[Path]]:
    """Return (subject, session) -> T1w scans; other files are dropped."""
    sessions: dict[tuple[str, str], list[Path]] = {}
    for path in find_scans(root, rows):
        named = entities(path)
        subject, session = named.get("sub", ""), named.get("ses", "")
        if "derivatives" in path.relative_to(root).parts:
            rows.drop(path, subject, "derivative")
        elif not stem(path).endswith("_T1w"):
            rows.drop(path, subject, "not a T1w scan")
        elif not _SUBJECT.match(subject) or session not in SESSIONS:
            rows.drop(path, subject, "not named as LONG579 does (sub-5XXX_ses-{5,7,9}_..._T1w)")
        else:
            sessions.setdefault((subject, session), []).append(path)
    return sessions


def _people(tsv: Path) -> dict[str, dict[str, str]]:
    """Return child -> cells; the column of a session's date is named as the session."""
    dates = {session: (f"ses-{session}_date_ST",) for session in SESSIONS}
    wanted = {"id": ("participant_id",), "birthdate": ("birthdate",)}
    table = read_table(tsv, wanted, {"sex": ("sex",), **dates})
    rows = [{str(name): str(cell) for name, cell in row.items()} for row in table.to_dict("records")]
    return {row["id"].removeprefix("sub-"): row for row in rows}


def _years(birth: str, day: str) -> float | None:
    """Return the years between two dates, or None where one cannot be read."""
    born, scanned = (pd.to_datetime(text, errors="coerce", format="mixed") for text in (birth, day))
    if pd.isna(born) or pd.isna(scanned):
        return None
    return round((scanned - born).days / 365.25, 3)
