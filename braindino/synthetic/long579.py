"""Write a synthetic LONG579: children in BIDS, shifted dates, several T1w, annex links."""

from datetime import date, timedelta
from pathlib import Path

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_csv
from braindino.synthetic.rendering import SyntheticHead, render

_HEADER = (
    "participant_id",
    "birthdate",
    "sex",
    "handedness_ses-5",
    "ses-5_date_ST",
    "ses-7_date_ST",
    "ses-9_date_ST",
)


@writer(stream=8, sessions=2)
def write_long579(dataset: SyntheticDataset) -> None:
    """Write children of 5 to 10 years; heads grow and cortices thin with age.

    Planted: dates shifted into 18xx, the same span within a child; CRLF in `participants.tsv`; a second T1w
    of a session; a derivative; a functional scan; a broken annex link; a date that is `n/a`; a birth after
    the scan; a child who is not in the table. A child has at most three sessions.
    """
    table: list[list[object]] = [list(_HEADER)]
    for i in range(dataset.people):
        subject, sex = f"{5003 + 2 * i}", "FM"[int(dataset.rng.integers(2))]
        born = date(1860, 3, 1) + timedelta(days=int(dataset.rng.integers(9000)))
        days = dict.fromkeys(("5", "7", "9"), "n/a")
        count = 2 if i < 2 else 1 + int(dataset.rng.integers(3))
        for session in sorted(dataset.rng.permutation(["5", "7", "9"])[: min(count, dataset.sessions, 3)]):
            age = int(session) + float(dataset.rng.uniform(0.1, 1.4))
            day = born + timedelta(days=round(age * 365.25))
            days[session] = day.isoformat()
            head = dataset.person(50_000 + i, age, sex)
            folder = dataset.root / f"sub-{subject}" / f"ses-{session}" / "anat"
            name = f"sub-{subject}_ses-{session}_acq-D1S"
            _write_scan(dataset, folder / f"{name}2_T1w.nii.gz", head, int(session))
            problem = {
                3: "no age: a date is missing",
                5: "no age: the dates contradict each other",
                6: "not in participants.tsv",
            }.get(i)
            if problem:
                dataset.planted.drop(problem)
                if i == 3:
                    days[session] = "n/a"
            else:
                age = round((day - born).days / 365.25, 3)
                dataset.planted.scans.append({"subject": subject, "session": session, "age": age, "sex": sex})
            if i == 1:
                _write_scan(dataset, folder / f"{name}7_T1w.nii.gz", head, int(session))
                dataset.planted.drop("another scan of the session is preferred")
            if i == 2:
                (folder / f"{name}1_T1w.nii.gz").symlink_to(
                    "../../../.git/annex/objects/xx/MD5E-s1--1.nii.gz"
                )
                dataset.planted.drop("broken link")
        if i == 0:
            folder = dataset.root / "derivatives" / "defaced" / f"sub-{subject}"
            _write_scan(dataset, folder / f"sub-{subject}_ses-7_T1w.nii.gz", head, 7)
            dataset.planted.drop("derivative")
            func = dataset.root / f"sub-{subject}" / "ses-7" / "func"
            _write_scan(dataset, func / f"sub-{subject}_ses-7_task-Sem_bold.nii.gz", head, 7)
            dataset.planted.drop("not a T1w scan")
        if i == 5:
            born += timedelta(days=30 * 365)
        if i != 6:
            table.append([f"sub-{subject}", born.isoformat(), sex.lower(), "n/a", *days.values()])
    write_csv(dataset.root / "participants.tsv", table, delimiter="\t", lineterminator="\r\n")


def _write_scan(dataset: SyntheticDataset, path: Path, head: SyntheticHead, scan: int) -> None:
    dataset.save_scan(path, render(head, shape=dataset.shape, scan=scan), "PSR")
