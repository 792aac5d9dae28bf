"""Write a synthetic BIDS dataset: sessions, several sequences, and other files."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import save_mask, write_csv
from braindino.synthetic.rendering import Rendered, render


@writer(stream=12, sessions=2)
def write_bids(dataset: SyntheticDataset) -> None:
    """Write a T1w of every session, and a FLAIR of every third person's; nothing is labelled.

    Planted: a second T1w of a session (listed as `run-2`); an age over 89 as `089Y`, one that is `n/a`, a
    person who is not in `participants.tsv`; a functional scan; a lesion mask; a derivative; a broken annex
    link; a scan whose name has no person.
    """
    table: list[list[object]] = [["participant_id", "age", "sex", "group"]]
    for i in range(dataset.people):
        subject = f"{i + 1:02}"
        sex, age = "FM"[int(dataset.rng.integers(2))], int(dataset.rng.integers(20, 80))
        head = dataset.person(80_000 + i, age, sex)
        for session in range(1, 2 + int(dataset.rng.integers(dataset.sessions))):
            below = dataset.root / f"sub-{subject}" / f"ses-{session}"
            name = f"sub-{subject}_ses-{session}"
            t1 = render(head, shape=dataset.shape, scan=session)
            for run in ("_run-1", "_run-2") if i == 1 and session == 1 else ("",):
                dataset.save_scan(below / "anat" / f"{name}{run}_T1w.nii.gz", t1, "PSR")
            dataset.planted.scans.append({"subject": subject, "session": str(session)})
            if i % 3 == 0:
                flair = render(head, "FLAIR", dataset.shape, scan=session)
                dataset.save_scan(below / "anat" / f"{name}_FLAIR.nii.gz", flair, "PSR")
        if i == 0:
            _plant_other_files(dataset, t1)
        elif i == 2:
            link = dataset.root / "sub-03" / "ses-1" / "anat" / "sub-03_ses-1_T2w.nii.gz"
            link.symlink_to("../../../.git/annex/objects/xx/MD5E-s1--1.nii.gz")
            dataset.planted.drop("broken link")
        if i != 5:
            table.append([f"sub-{subject}", {3: "089Y", 4: "n/a"}.get(i, age), sex, "n/a"])
    write_csv(dataset.root / "participants.tsv", table, delimiter="\t", lineterminator="\n")


def _plant_other_files(dataset: SyntheticDataset, t1: Rendered) -> None:
    """Write files of the first person that an index drops."""
    session = dataset.root / "sub-01" / "ses-1"
    dataset.save_scan(session / "func" / "sub-01_ses-1_task-rest_bold.nii.gz", t1, "PSR")
    dataset.planted.drop("suffix bold is not wanted")
    mask = session / "anat" / "sub-01_ses-1_label-lesion_mask.nii.gz"
    save_mask(mask, t1.volume > 0.9, t1.affine)
    dataset.planted.drop("mask or segmentation, by its name")
    derivative = dataset.root / "derivatives" / "fast" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    dataset.save_scan(derivative, t1, "RAS")
    dataset.planted.drop("derivative")
    dataset.save_scan(dataset.root / "sourcedata" / "phantom.nii.gz", t1, "RAS")
    dataset.planted.drop("sourcedata: originals, of which the dataset has its own copy")
