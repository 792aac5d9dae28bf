"""Write a synthetic folder of scans: a folder per person, mixed formats and files."""

from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import draw_gain, save_mask
from braindino.synthetic.rendering import Rendered, render


@writer(stream=11, sessions=2)
def write_folder(dataset: SyntheticDataset) -> None:
    """Write a T1w of every session, and a FLAIR of every third person's; nothing is labelled.

    Planted: a scan as MGZ, one with a space and an accent in its name; a lesion mask; a derivative; an empty
    file; a pointer of git-lfs; a broken annex link; an Analyze header without its image; a hidden file.
    """
    for i in range(dataset.people):
        age, sex = float(dataset.rng.uniform(20, 80)), "FM"[int(dataset.rng.integers(2))]
        head = dataset.person(70_000 + i, age, sex)
        for session in range(1, 2 + int(dataset.rng.integers(dataset.sessions))):
            folder = dataset.root / f"P{i + 1:03}" / f"ses-{session}"
            t1 = render(head, shape=dataset.shape, scan=session)
            if i == 0:
                _save_mgz(folder / "mprage.mgz", t1, draw_gain(dataset.rng))
            else:
                dataset.save_scan(folder / ("T1 première.nii.gz" if i == 1 else "T1.nii"), t1, "LPS")
            dataset.planted.scans.append({"subject": f"P{i + 1:03}", "session": str(session)})
            if i % 3 == 0:
                flair = render(head, "FLAIR", dataset.shape, scan=session)
                dataset.save_scan(folder / "flair.nii.gz", flair, "LPS")
        first = dataset.root / f"P{i + 1:03}" / "ses-1"
        if i == 0:
            save_mask(first / "lesion_mask.nii.gz", t1.volume > 0.9, t1.affine)
            dataset.planted.drop("mask or segmentation, by its name")
            dataset.save_scan(dataset.root / "derivatives" / "P001" / "T1_stripped.nii.gz", t1, "RAS")
            dataset.planted.drop("derivative")
        elif i == 1:
            (first / "T2.nii.gz").touch()
            dataset.planted.drop("empty file")
            (first / "._T1.nii").write_bytes(bytes(4096))
        elif i == 2:
            pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 7864320\n"
            (first / "T2.nii.gz").write_text(pointer)
            dataset.planted.drop("pointer to data that was not fetched (git-annex, git-lfs)")
            (first / "PD.nii.gz").symlink_to("../../.git/annex/objects/xx/MD5E-s1--1.nii.gz")
            dataset.planted.drop("broken link")
        elif i == 3:
            (first / "T2.hdr").write_bytes(bytes(348))
            dataset.planted.drop("Analyze header without its .img")


def _save_mgz(path: Path, rendered: Rendered, gain: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.rint(np.clip(rendered.volume * gain, 0, 32767)).astype(np.int16)
    nib.save(nib.MGHImage(values, rendered.affine), path)
