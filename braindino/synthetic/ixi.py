"""A synthetic IXI: flat files of three hospitals and the table with its doubled, zeroed and empty rows."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, save_scan, write_xls
from braindino.synthetic.heads import render

_HEADER = (
    "IXI_ID", "SEX_ID (1=m, 2=f)", "HEIGHT", "WEIGHT", "ETHNIC_ID", "MARITAL_ID", "OCCUPATION_ID",
    "QUALIFICATION_ID", "DOB", "DATE_AVAILABLE", "STUDY_DATE", "AGE",
)  # fmt: skip
_SITES = ("Guys", "HH", "IOP")


def write_ixi(
    root: Path,
    people: int = 60,
    sessions: int = 1,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write healthy adults of 20 to 86 years, a T1w each and a T2w of every fourth; age shows in the anatomy.

    Planted in `IXI.xls`, a legacy Excel file: a person with a second, zeroed row (kept by the full one), one
    with rows that contradict each other, one with a blank AGE, one not in it.

    Args:
        root: folder to write to.
        people: number of people.
        sessions: IXI has one; more is not used.
        shape: voxels along right, anterior, superior; stored as PSR.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 5])
    planted, table = Planted(), []
    root = Path(root)
    for i in range(people):
        number = 12 + 3 * i
        sex = int(rng.integers(1, 3))
        age = round(float(rng.uniform(20, 86)), 2)
        site = _SITES[int(rng.integers(3))]
        head = person(seed, number, age, "MF"[sex - 1])
        problem = {
            3: "rows of the table contradict each other",
            5: "no age in the table",
            7: "not in the table",
        }.get(i)
        for suffix, sequence in (("T1", "T1w"), ("T2", "T2w"))[: 2 if i % 4 == 0 else 1]:
            path = root / f"IXI{number:03d}-{site}-{700 + number:04d}-{suffix}.nii.gz"
            save_scan(rng, path, render(head, sequence, shape), "PSR")
            if suffix == "T2":
                planted.drop("not T1w")
        if problem:
            planted.drop(problem)
        else:
            planted.scans.append(
                {"subject": f"IXI{number:03d}", "age": age, "sex": "MF"[sex - 1], "site": site}
            )
        row = [number, sex, 170, 70, 1, 2, 1, 5, "1950-01-01", 1, "2005-06-01", "" if i == 5 else age]
        zeroed = [number, 0, 0, 0, 0, 0, 0, 0, "", 0, "", ""]
        other = [number, 3 - sex, 160, 60, 1, 1, 1, 1, "1970-01-01", 1, "2005-06-01", age - 20]
        if i != 7:
            table += [zeroed, row] if i == 1 else [row, other] if i == 3 else [row]
    write_xls(root / "IXI.xls", [_HEADER, *table])
    return planted
