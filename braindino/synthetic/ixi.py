"""Write a synthetic IXI: flat files of three hospitals and an irregular table."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_xls
from braindino.synthetic.rendering import render

_HEADER = (
    "IXI_ID",
    "SEX_ID (1=m, 2=f)",
    "HEIGHT",
    "WEIGHT",
    "ETHNIC_ID",
    "MARITAL_ID",
    "OCCUPATION_ID",
    "QUALIFICATION_ID",
    "DOB",
    "DATE_AVAILABLE",
    "STUDY_DATE",
    "AGE",
)
_SITES = ("Guys", "HH", "IOP")


@writer(stream=5)
def write_ixi(dataset: SyntheticDataset) -> None:
    """Write adults of 20 to 86 years, a T1w each and a T2w of every fourth person.

    Planted in `IXI.xls`, a legacy Excel file: a person with a second, zeroed row (the full row counts), one
    with rows that contradict each other, one with a blank AGE, one not in it.
    """
    table: list[list[object]] = []
    for i in range(dataset.people):
        number = 12 + 3 * i
        sex = int(dataset.rng.integers(1, 3))
        age = round(float(dataset.rng.uniform(20, 86)), 2)
        site = _SITES[int(dataset.rng.integers(3))]
        head = dataset.person(number, age, "MF"[sex - 1])
        problem = {
            3: "rows of the table contradict each other",
            5: "no age in the table",
            7: "not in the table",
        }.get(i)
        for suffix, sequence in (("T1", "T1w"), ("T2", "T2w"))[: 2 if i % 4 == 0 else 1]:
            path = dataset.root / f"IXI{number:03d}-{site}-{700 + number:04d}-{suffix}.nii.gz"
            dataset.save_scan(path, render(head, sequence, dataset.shape), "PSR")
            if suffix == "T2":
                dataset.planted.drop("not T1w")
        if problem:
            dataset.planted.drop(problem)
        else:
            dataset.planted.scans.append(
                {"subject": f"IXI{number:03d}", "age": age, "sex": "MF"[sex - 1], "site": site}
            )
        row = [number, sex, 170, 70, 1, 2, 1, 5, "1950-01-01", 1, "2005-06-01", "" if i == 5 else age]
        zeroed = [number, 0, 0, 0, 0, 0, 0, 0, "", 0, "", ""]
        other = [number, 3 - sex, 160, 60, 1, 1, 1, 1, "1970-01-01", 1, "2005-06-01", age - 20]
        if i == 1:
            table.append(zeroed)
        if i != 7:
            table.append(row)
        if i == 3:
            table.append(other)
    write_xls(dataset.root / "IXI.xls", [_HEADER, *table])
