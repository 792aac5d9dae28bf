"""Synthetic BraTS 2021, 2023 and 2024 (GoAT): four sequences and a mask per case, in each edition's names."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person
from braindino.synthetic.heads import Head
from braindino.synthetic.tumours import draw_tumour, write_tumour

Shape = tuple[int, int, int]
_OLD = {"T1w": "_t1", "T1c": "_t1ce", "T2w": "_t2", "FLAIR": "_flair"}
_NEW = {"T1w": "-t1n", "T1c": "-t1c", "T2w": "-t2w", "FLAIR": "-t2f"}


def write_brats2021(
    root: Path, people: int = 60, sessions: int = 1, shape: Shape = (48, 56, 48), seed: int = 0
) -> Planted:
    """Write glioma; enhancing tumour is 4.

    Planted: cases 00626 and 00758 of one patient, 00557 and 00639 of another; a validation case without
    mask; a case without T2; a file that is no part of a case.

    Args:
        root: folder to write to; gets `BraTS2021_Training_Data/`.
        people: number of patients.
        sessions: not used; two patients have two cases.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    writer = _Writer(Path(root) / "BraTS2021_Training_Data", shape, np.random.default_rng([seed, 13]), seed)
    for i in range(people):
        numbers = {0: ("00626", "00758"), 1: ("00557", "00639")}.get(i, (f"{1000 + i:05d}",))
        for scan, number in enumerate(numbers):
            case = f"BraTS2021_{number}"
            writer.case(i, case, case, "", numbers[0], _OLD, "_", scan)
    if people > 4:
        writer.stray("BraTS2021_01004/BraTS2021_01004_prediction")
        writer.planted.drop("not named as brats2021 does (BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz)")
    return writer.planted


def write_brats2023(
    root: Path, people: int = 60, sessions: int = 2, shape: Shape = (48, 56, 48), seed: int = 0
) -> Planted:
    """Write glioma, meningioma and metastases in turn, each cohort in a folder of its own.

    Planted: a person of GLI with two timepoints; a case of PED, which is not asked for by default; a
    validation case without mask; a case without T2.

    Args:
        root: folder to write to.
        people: number of patients.
        sessions: one, or two for the second timepoint of the first patient.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    writer = _Writer(Path(root), shape, np.random.default_rng([seed, 14]), seed)
    for i in range(people):
        cohort = "PED" if i == 7 else ("GLI", "MEN", "MET")[i % 3]
        for timepoint in range(2 if i == 0 and sessions > 1 else 1):
            patient = f"{cohort}-{5 * i:05d}"
            name = f"{cohort}/BraTS-{patient}-{timepoint:03d}"
            session = f"{timepoint:03d}"
            writer.case(i, name, patient, session, patient, _NEW, "-", timepoint, cohort)
    return writer.planted


def write_brats2024_goat(
    root: Path, people: int = 60, sessions: int = 1, shape: Shape = (48, 56, 48), seed: int = 0
) -> Planted:
    """Write tumours of mixed kinds under one numbering without timepoints.

    Planted: a validation case without mask; a case without T2.

    Args:
        root: folder to write to.
        people: number of patients.
        sessions: GoAT has one; more is not used.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    writer = _Writer(Path(root), shape, np.random.default_rng([seed, 15]), seed)
    for i in range(people):
        writer.case(i, f"BraTS-GoAT-{i:05d}", f"GoAT-{i:05d}", "", f"{i:05d}", _NEW, "-", 0)
    return writer.planted


class _Writer:
    def __init__(self, root: Path, shape: Shape, rng: np.random.Generator, seed: int) -> None:
        self.root, self.shape, self.rng, self.seed = root, shape, rng, seed
        self.planted = Planted()

    def case(
        self,
        i: int,
        folder: str,
        subject: str,
        session: str,
        group: str,
        names: dict[str, str],
        between: str,
        scan: int,
        cohort: str = "",
    ) -> None:
        """Write a case: meningioma is solid, metastases are small, glioma has a necrotic core."""
        given = {"MEN": {"core": -1.0, "oedema": 6.0}, "MET": {"radius": 10.0}}.get(cohort, {})
        tumour = draw_tumour(self.rng, **given)
        head = person(self.seed, 95_000 + i, 60, "FM"[i % 2])
        prefix = self.root / folder / folder.rpartition("/")[2]
        written = {name: suffix for name, suffix in names.items() if not (i == 4 and name == "T2w")}
        mask = None if i == 3 else prefix.with_name(f"{prefix.name}{between}seg.nii.gz")
        four = between == "_"
        write_tumour(self.rng, prefix, written, head, tumour, self.shape, mask, four, scan)
        if cohort == "PED":
            self.planted.drop("cohort PED is not asked for", len(written) + 1)
            return
        if mask is None:
            self.planted.drop("no mask", len(written))
            return
        self.planted.scans.append(
            {"subject": subject, "session": session, "person": group, "sequences": len(written)}
        )

    def stray(self, name: str) -> None:
        """A file beside a case that is no part of it."""
        head, tumour = Head(self.seed), draw_tumour(self.rng)
        write_tumour(self.rng, self.root / name, {"T1w": ""}, head, tumour, self.shape, None, True)
