"""A synthetic folder of scans as a laboratory keeps it: a folder per person, formats and leftovers mixed."""

from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.synthetic.files import Planted, draw_gain, person, save_mask, save_scan
from braindino.synthetic.heads import Rendered, render


def write_folder(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write a T1w of every session, and a FLAIR of every third person's; nothing is labelled.

    Planted: a scan as MGZ, one with a space and an accent in its name; a lesion mask; a derivative; an empty
    file; a pointer of git-lfs; a broken annex link; an Analyze header without its image; a hidden file.

    Args:
        root: folder to write to.
        people: number of people.
        sessions: most sessions of a person.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 11])
    root, planted = Path(root), Planted()
    for i in range(people):
        head = person(seed, 70_000 + i, float(rng.uniform(20, 80)), "FM"[int(rng.integers(2))])
        for session in range(1, 2 + int(rng.integers(sessions))):
            folder = root / f"P{i + 1:03}" / f"ses-{session}"
            t1 = render(head, shape=shape, scan=session)
            if i == 0:
                _save_mgz(folder / "mprage.mgz", t1, draw_gain(rng))
            else:
                save_scan(rng, folder / ("T1 première.nii.gz" if i == 1 else "T1.nii"), t1, "LPS")
            planted.scans.append({"subject": f"P{i + 1:03}", "session": str(session)})
            if i % 3 == 0:
                save_scan(rng, folder / "flair.nii.gz", render(head, "FLAIR", shape, scan=session), "LPS")
        first = root / f"P{i + 1:03}" / "ses-1"
        if i == 0:
            save_mask(first / "lesion_mask.nii.gz", t1.volume > 0.9, t1.affine)
            planted.drop("mask or segmentation, by its name")
            save_scan(rng, root / "derivatives" / "P001" / "T1_stripped.nii.gz", t1, "RAS")
            planted.drop("derivative")
        elif i == 1:
            (first / "T2.nii.gz").touch()
            planted.drop("empty file")
            (first / "._T1.nii").write_bytes(bytes(4096))
        elif i == 2:
            told = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 7864320\n"
            (first / "T2.nii.gz").write_text(told)
            planted.drop("pointer to data that was not fetched (git-annex, git-lfs)")
            (first / "PD.nii.gz").symlink_to("../../.git/annex/objects/xx/MD5E-s1--1.nii.gz")
            planted.drop("broken link")
        elif i == 3:
            (first / "T2.hdr").write_bytes(bytes(348))
            planted.drop("Analyze header without its .img")
    return planted


def _save_mgz(path: Path, rendered: Rendered, gain: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.rint(np.clip(rendered.volume * gain, 0, 32767)).astype(np.int16)
    nib.save(nib.MGHImage(values, rendered.affine), path)
