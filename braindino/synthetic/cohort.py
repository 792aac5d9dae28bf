"""Write a synthetic cohort with a table: semicolons, a blank label, a missing scan."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import save_nifti, write_csv
from braindino.synthetic.rendering import render


@writer(stream=7)
def write_cohort(dataset: SyntheticDataset) -> None:
    """Write `scans/*.nii.gz` and `patients.csv`: `subject;visit;file;label;age;sex;months;died`.

    Label 1 (every other person) shows as atrophy, and so does the time to death in months; age and sex are
    drawn independently of it. Every person has `sessions` visits. Planted: a row whose label is `n/a`, and a
    git-annex pointer in place of a scan.
    """
    table: list[list[object]] = []
    for i in range(dataset.people):
        subject, label = f"p{i + 1:03d}", i % 2
        age, sex = round(float(dataset.rng.uniform(40, 80)), 1), "MF"[int(dataset.rng.integers(2))]
        atrophy = max(0.0, label + float(dataset.rng.normal(0, 0.1)))
        months = round(float(dataset.rng.uniform(20, 40) / (1 + atrophy)), 1)
        for visit in range(1, dataset.sessions + 1):
            path = dataset.root / "scans" / f"{subject}_{visit}_t1.nii.gz"
            unlabelled, gone = i == 2 and visit == 1, i == 3 and visit == 1
            if gone:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("../.git/annex/objects/x1/SHA256E-s912.nii.gz\n")
                dataset.planted.drop("pointer to data that was not fetched (git-annex, git-lfs)")
            else:
                head = dataset.person(i, age, sex, atrophy)
                scan = render(head, "T1w", dataset.shape, scan=visit)
                save_nifti(path, scan, "LAS", float(dataset.rng.uniform(300, 900)))
            if unlabelled:
                dataset.planted.drop("no label in the table")
            elif not gone:
                dataset.planted.scans.append({"subject": subject, "session": str(visit), "label": str(label)})
            shown, died = "n/a" if unlabelled else label, i % 3 % 2
            table.append([subject, visit, f"scans/{path.name}", shown, age, sex, months, died])
    header = ["subject", "visit", "file", "label", "age", "sex", "months", "died"]
    write_csv(dataset.root / "patients.csv", [header, *table], delimiter=";")
