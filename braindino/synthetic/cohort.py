"""A synthetic table of somebody's own: semicolons, a blank label, a scan that was not fetched."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, save_nifti, write_csv
from braindino.synthetic.heads import render


def write_cohort(
    root: Path,
    people: int = 60,
    sessions: int = 1,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write `scans/p001_t1.nii.gz`, ... and `patients.csv`: `subject;visit;file;label;age;sex;months;died`.

    Label 1 (every other person) shows as atrophy, and so does the time to death in months; age and sex are
    drawn without regard to it. Planted: a row whose label is `n/a`, and a git-annex pointer in place of a
    scan.

    Args:
        root: folder to write to.
        people: number of people.
        sessions: visits of each.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 7])
    planted, table = Planted(), []
    root = Path(root)
    for i in range(people):
        subject, label = f"p{i + 1:03d}", i % 2
        age, sex = round(float(rng.uniform(40, 80)), 1), "MF"[int(rng.integers(2))]
        atrophy = max(0.0, label + float(rng.normal(0, 0.1)))
        months = round(float(rng.uniform(20, 40) / (1 + atrophy)), 1)
        for visit in range(1, sessions + 1):
            path = root / "scans" / f"{subject}_{visit}_t1.nii.gz"
            unlabelled, gone = i == 2 and visit == 1, i == 3 and visit == 1
            if gone:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("../.git/annex/objects/x1/SHA256E-s912.nii.gz\n")
                planted.drop("pointer to data that was not fetched (git-annex, git-lfs)")
            else:
                head = person(seed, i, age, sex, atrophy)
                save_nifti(path, render(head, "T1w", shape, scan=visit), "LAS", float(rng.uniform(300, 900)))
            if unlabelled:
                planted.drop("no label in the table")
            elif not gone:
                planted.scans.append({"subject": subject, "session": str(visit), "label": str(label)})
            table.append(
                [
                    subject,
                    visit,
                    f"scans/{path.name}",
                    "n/a" if unlabelled else label,
                    age,
                    sex,
                    months,
                    i % 3 % 2,
                ]
            )
    header = ["subject", "visit", "file", "label", "age", "sex", "months", "died"]
    write_csv(root / "patients.csv", [header, *table], delimiter=";")
    return planted
