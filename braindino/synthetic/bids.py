"""A synthetic BIDS dataset: sessions, several sequences, and what else lies in such folders."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, save_mask, save_scan, write_csv
from braindino.synthetic.heads import render


def write_bids(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write a T1w of every session, and a FLAIR of every third person's; nothing is labelled.

    Planted: a second T1w of a session (kept, as `run-2`); an age over 89 as `089Y`, one that is `n/a`, a
    person who is not in `participants.tsv`; a functional scan; a lesion mask; a derivative; a broken annex
    link; a scan that is named after nobody.

    Args:
        root: folder to write to.
        people: number of people.
        sessions: most sessions of a person.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 12])
    root, planted = Path(root), Planted()
    table: list[list[object]] = [["participant_id", "age", "sex", "group"]]
    for i in range(people):
        subject, sex, age = f"{i + 1:02}", "FM"[int(rng.integers(2))], int(rng.integers(20, 80))
        head = person(seed, 80_000 + i, age, sex)
        for session in range(1, 2 + int(rng.integers(sessions))):
            below = root / f"sub-{subject}" / f"ses-{session}"
            name = f"sub-{subject}_ses-{session}"
            t1 = render(head, shape=shape, scan=session)
            for run in ("_run-1", "_run-2") if i == 1 and session == 1 else ("",):
                save_scan(rng, below / "anat" / f"{name}{run}_T1w.nii.gz", t1, "PSR")
            planted.scans.append({"subject": subject, "session": str(session)})
            if i % 3 == 0:
                flair = render(head, "FLAIR", shape, scan=session)
                save_scan(rng, below / "anat" / f"{name}_FLAIR.nii.gz", flair, "PSR")
        if i == 0:
            path = root / "sub-01" / "ses-1" / "func" / "sub-01_ses-1_task-rest_bold.nii.gz"
            save_scan(rng, path, t1, "PSR")
            planted.drop("suffix bold is not wanted")
            path = root / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_label-lesion_mask.nii.gz"
            save_mask(path, t1.volume > 0.9, t1.affine)
            planted.drop("mask or segmentation, by its name")
            save_scan(rng, root / "derivatives" / "fast" / "sub-01" / "anat" / "sub-01_T1w.nii.gz", t1, "RAS")
            planted.drop("derivative")
            save_scan(rng, root / "sourcedata" / "phantom.nii.gz", t1, "RAS")
            planted.drop("sourcedata: originals, of which the dataset has its own copy")
        elif i == 2:
            link = root / "sub-03" / "ses-1" / "anat" / "sub-03_ses-1_T2w.nii.gz"
            link.symlink_to("../../../.git/annex/objects/xx/MD5E-s1--1.nii.gz")
            planted.drop("broken link")
        if i != 5:
            table.append([f"sub-{subject}", {3: "089Y", 4: "n/a"}.get(i, age), sex, "n/a"])
    write_csv(root / "participants.tsv", table, delimiter="\t", lineterminator="\n")
    return planted
