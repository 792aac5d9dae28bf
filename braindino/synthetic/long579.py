"""A synthetic LONG579: children in BIDS with dates in the 19th century, several T1w, and annex links."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, save_scan, write_csv
from braindino.synthetic.heads import Head, render

_HEADER = (
    "participant_id", "birthdate", "sex", "handedness_ses-5", "ses-5_date_ST", "ses-7_date_ST",
    "ses-9_date_ST",
)  # fmt: skip


def write_long579(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write children of 5 to 10 years; heads grow and cortices thin with age.

    Planted: dates shifted into 18xx, the same span within a child; CRLF in `participants.tsv`; a second T1w
    of a session; a derivative; a functional scan; a broken annex link; a date that is `n/a`; a birth after
    the scan; a child who is not in the table.

    Args:
        root: folder to write to.
        people: number of children.
        sessions: most sessions of a child, up to three.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 8])
    root, planted = Path(root), Planted()
    table: list[list[object]] = [list(_HEADER)]
    for i in range(people):
        subject, sex = f"{5003 + 2 * i}", "FM"[int(rng.integers(2))]
        born = date(1860, 3, 1) + timedelta(days=int(rng.integers(9000)))
        days = dict.fromkeys(("5", "7", "9"), "n/a")
        count = 2 if i < 2 else 1 + int(rng.integers(3))
        for session in sorted(rng.permutation(["5", "7", "9"])[: min(count, sessions, 3)]):
            age = int(session) + float(rng.uniform(0.1, 1.4))
            day = born + timedelta(days=round(age * 365.25))
            days[session] = day.isoformat()
            head = person(seed, 50_000 + i, age, sex)
            folder = root / f"sub-{subject}" / f"ses-{session}" / "anat"
            name = f"sub-{subject}_ses-{session}_acq-D1S"
            _write(rng, folder / f"{name}2_T1w.nii.gz", head, int(session), shape)
            problem = {
                3: "no age: a date is missing",
                5: "no age: the dates contradict each other",
                6: "not in participants.tsv",
            }.get(i)
            if problem:
                planted.drop(problem)
                if i == 3:
                    days[session] = "n/a"
            else:
                age = round((day - born).days / 365.25, 3)
                planted.scans.append({"subject": subject, "session": session, "age": age, "sex": sex})
            if i == 1:
                _write(rng, folder / f"{name}7_T1w.nii.gz", head, int(session), shape)
                planted.drop("another scan of the session is preferred")
            if i == 2:
                (folder / f"{name}1_T1w.nii.gz").symlink_to(
                    "../../../.git/annex/objects/xx/MD5E-s1--1.nii.gz"
                )
                planted.drop("broken link")
        if i == 0:
            folder = root / "derivatives" / "defaced" / f"sub-{subject}"
            _write(rng, folder / f"sub-{subject}_ses-7_T1w.nii.gz", head, 7, shape)
            planted.drop("derivative")
            bold = root / f"sub-{subject}" / "ses-7" / "func" / f"sub-{subject}_ses-7_task-Sem_bold.nii.gz"
            _write(rng, bold, head, 7, shape)
            planted.drop("not a T1w scan")
        if i == 5:
            born += timedelta(days=30 * 365)
        if i != 6:
            table.append([f"sub-{subject}", born.isoformat(), sex.lower(), "n/a", *days.values()])
    write_csv(root / "participants.tsv", table, delimiter="\t", lineterminator="\r\n")
    return planted


def _write(rng: np.random.Generator, path: Path, head: Head, scan: int, shape: tuple[int, int, int]) -> None:
    save_scan(rng, path, render(head, shape=shape, scan=scan), "PSR")
