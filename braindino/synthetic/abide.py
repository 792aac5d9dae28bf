"""A synthetic ABIDE I and II: three layouts, two tables in their encodings, people in both releases."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, save_scan, write_csv
from braindino.synthetic.heads import Head, render

_ONE = ("SITE_ID", "SUB_ID", "DX_GROUP", "DSM_IV_TR", "AGE_AT_SCAN", "SEX", "HANDEDNESS_CATEGORY", "FIQ")
_TWO = ("SITE_ID", "SUB_ID", "DX_GROUP ", "PDD_DSM_IV_TR", "AGE_AT_SCAN ", "SEX", "FIQ ", "Größe")
_SITES = ("PITT", "NYU", "UCLA_1")


def write_abide(
    root: Path,
    people: int = 60,
    sessions: int = 1,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write two thirds of the people into ABIDE I, one third into II; autism and control in equal parts.

    Autism shows, for the sake of a signal, as half the atrophy of Alzheimer's disease; no such thing is
    claimed of real people. Planted: `hires` beside an `mprage`; somebody followed up in II under the same
    number at the site `ABIDEII-UCLA_Long`; somebody with another number in II (50810 and 29355); a person
    without diagnosis (-9999) and one who is not in a table; a table in cp1252 whose headers have trailing
    spaces.

    Args:
        root: folder to write to; gets `ABIDE/`, `ABIDEII/` with a table each.
        people: number of people.
        sessions: one; follow-ups are planted.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 7])
    root, planted = Path(root), Planted()
    one: list[list[object]] = []
    two: list[list[object]] = []

    def write(path: Path, head: Head, scan: int = 0) -> None:
        codes = "RAS" if rng.integers(2) else "PSR"
        save_scan(rng, path, render(head, shape=shape, scan=scan), codes)

    def keep(number: int, group: int, site: str, dx: int) -> None:
        diagnosis = "autism" if dx == 1 else "control"
        planted.scans.append({"subject": str(number), "person": group, "site": site, "diagnosis": diagnosis})

    for i in range(people):
        dx, sex = 1 + i % 2, int(rng.integers(1, 3))
        age = round(float(rng.uniform(7, 40)), 2)
        head = person(seed, i, age, "MF"[sex - 1], 0.5 * (dx == 1) + float(rng.normal(0, 0.05)))
        second = i % 3 == 2
        number = 29_000 + i if second else 50_810 if i == 0 else 50_002 + i
        if second:
            site = f"ABIDEII-{'NYU_1' if i % 2 else 'KKI_1'}"
            sub = root / "ABIDEII" / site / f"sub-{number}" / "ses-1" / "anat"
            write(sub / f"sub-{number}_ses-1_run-1_T1w.nii.gz", head)
            two.append([site, number, dx, 1, age, sex, 100, ""])
            keep(number, number, site, dx)
            continue
        site = _SITES[int(rng.integers(3))]
        folder = root / "ABIDE" / site / f"{number:07d}" / "session_1" / "anat_1"
        if site == "NYU":
            folder = root / "ABIDE" / site / f"sub-{number:07d}" / "anat"
            write(folder / f"sub-{number:07d}_T1w.nii.gz", head)
        else:
            write(folder / "mprage.nii.gz", head)
            if i % 5 == 0:
                write(folder / "hires.nii.gz", head)
                planted.drop("not a T1w scan of a person")
        if i == 4:
            planted.drop("not in a phenotypic table")
            continue
        one.append([site, number, -9999 if i == 7 else dx, 1, age, sex, "`", -9999])
        if i == 7:
            planted.drop("no diagnosis (DX_GROUP)")
            continue
        keep(number, number, site, dx)
        if i in (0, 1):  # again in the second release: under another number, under the same
            again = 29_355 if i == 0 else number
            where = "ABIDEII-UCLA_Long"
            write(root / "ABIDEII" / where / f"{again}" / "session_1" / "anat_1" / "anat.nii.gz", head, 1)
            two.append([where, again, dx, 1, age + 2, sex, 100, ""])
            keep(again, number, where, dx)
    for name, header, rows, encoding in (
        ("ABIDE/Phenotypic_V1_0b.csv", _ONE, one, "utf-8"),
        ("ABIDEII/ABIDEII_Composite_Phenotypic.csv", _TWO, two, "cp1252"),
    ):
        write_csv(root / name, [header, *rows], encoding)
    return planted
