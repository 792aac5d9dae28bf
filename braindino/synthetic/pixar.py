"""A synthetic Pixar: children and adults in BIDS, with a film beside the T1w and gaps in the table."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, save_scan, write_csv
from braindino.synthetic.heads import render

_HEADER = ("participant_id", "Age (years)", "AgeGroup", "Child_Adult", "Gender", "Handedness")


def write_pixar(
    root: Path,
    people: int = 60,
    sessions: int = 1,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write people of 3.5 to 39 years, four in five of them children; age shows in the anatomy.

    Planted: a functional scan; a person whose age is `n/a`; one who is not in the table.

    Args:
        root: folder to write to.
        people: number of people.
        sessions: Pixar has one; more is not used.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 9])
    root, planted = Path(root), Planted()
    table: list[list[object]] = [list(_HEADER)]
    for i in range(people):
        subject, sex = f"pixar{i + 1:03d}", "FM"[int(rng.integers(2))]
        adult = i % 5 == 4
        age = round(float(rng.uniform(18, 39) if adult else rng.uniform(3.5, 12.5)), 6)
        head = person(seed, 60_000 + i, age, sex)
        names = [("anat", "T1w"), ("func", "task-pixar_bold")][: 2 if i == 0 else 1]
        for folder, suffix in names:
            path = root / f"sub-{subject}" / folder / f"sub-{subject}_{suffix}.nii.gz"
            save_scan(rng, path, render(head, shape=shape), "LAS")
        if i == 0:
            planted.drop("not a T1w scan of a person (sub-pixar001_T1w.nii.gz)")
        if i == 3:
            planted.drop("not in participants.tsv")
            continue
        shown = "n/a" if i == 6 else age
        kind = "adult" if adult else "child"
        table.append([f"sub-{subject}", shown, "Adult" if adult else "5yo", kind, sex, "R"])
        if i == 6:
            planted.drop("no age in participants.tsv")
        else:
            planted.scans.append({"subject": subject, "session": "", "age": age, "sex": sex})
    write_csv(root / "participants.tsv", table, delimiter="\t", lineterminator="\n")
    return planted
