"""Parse the case names of BraTS editions, with one key per person in every dataset."""

import re
from typing import NamedTuple

# Numbers of 2021 that are known to be one patient: the second counts as the first.
SAME_PATIENT = {"00758": "00626", "00639": "00557"}


class BratsCase(NamedTuple):
    """Ids that the name of a BraTS case contains.

    Attributes:
        subject: id of the subject within the edition.
        session: timepoint, or `""`.
        site: cohort, or `""`.
        group: key of the person, `<edition>:<id>`.
    """

    subject: str
    session: str
    site: str
    group: str


def parse_brats2021(name: str) -> BratsCase | None:
    """Parse `BraTS2021_<number>`; the person is the number."""
    match = re.fullmatch(r"BraTS2021_(\d{5})", name)
    if not match:
        return None
    number = match.group(1)
    return BratsCase(name, "", "", f"brats2021:{SAME_PATIENT.get(number, number)}")


def parse_brats2023(name: str) -> BratsCase | None:
    """Parse `BraTS-<cohort>-<number>-<timepoint>`; the person is cohort and number."""
    match = re.fullmatch(r"BraTS-(GLI|MEN|MET|PED|SSA)-(\d{5})-(\d{3})", name)
    if not match:
        return None
    cohort, number, timepoint = match.groups()
    return BratsCase(f"{cohort}-{number}", timepoint, cohort, f"brats2023:{cohort}-{number}")


def parse_brats2024_goat(name: str) -> BratsCase | None:
    """Parse `BraTS-GoAT-<number>`; the person is the number."""
    match = re.fullmatch(r"BraTS-GoAT-(\d{5})", name)
    return BratsCase(f"GoAT-{match[1]}", "", "", f"brats2024_goat:{match[1]}") if match else None


def person_of_brats(name: str) -> str | None:
    """Return the key of the person whose case has a name of any BraTS edition, else None."""
    for parse in (parse_brats2021, parse_brats2023, parse_brats2024_goat):
        if case := parse(name):
            return case.group
    return None
