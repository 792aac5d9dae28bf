"""Write a synthetic Pixar: children and adults in BIDS, functional scans, table gaps."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_csv
from braindino.synthetic.rendering import render

_HEADER = ("participant_id", "Age (years)", "AgeGroup", "Child_Adult", "Gender", "Handedness")


@writer(stream=9)
def write_pixar(dataset: SyntheticDataset) -> None:
    """Write people of 3.5 to 39 years, four in five of them children; age shows in the anatomy.

    Planted: a functional scan; a person whose age is `n/a`; one who is not in the table.
    """
    table: list[list[object]] = [list(_HEADER)]
    for i in range(dataset.people):
        subject, sex = f"pixar{i + 1:03d}", "FM"[int(dataset.rng.integers(2))]
        adult = i % 5 == 4
        age = round(float(dataset.rng.uniform(18, 39) if adult else dataset.rng.uniform(3.5, 12.5)), 6)
        head = dataset.person(60_000 + i, age, sex)
        names = [("anat", "T1w"), ("func", "task-pixar_bold")][: 2 if i == 0 else 1]
        for folder, suffix in names:
            path = dataset.root / f"sub-{subject}" / folder / f"sub-{subject}_{suffix}.nii.gz"
            dataset.save_scan(path, render(head, shape=dataset.shape), "LAS")
        if i == 0:
            dataset.planted.drop("not a T1w scan of a person (sub-pixar001_T1w.nii.gz)")
        if i == 3:
            dataset.planted.drop("not in participants.tsv")
            continue
        shown = "n/a" if i == 6 else age
        kind = "adult" if adult else "child"
        table.append([f"sub-{subject}", shown, "Adult" if adult else "5yo", kind, sex, "R"])
        if i == 6:
            dataset.planted.drop("no age in participants.tsv")
        else:
            dataset.planted.scans.append({"subject": subject, "session": "", "age": age, "sex": sex})
    write_csv(dataset.root / "participants.tsv", table, delimiter="\t", lineterminator="\n")
