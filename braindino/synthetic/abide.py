"""Write a synthetic ABIDE I and II: three layouts, two tables, people in both releases."""

from dataclasses import dataclass, field
from pathlib import Path

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_csv
from braindino.synthetic.rendering import SyntheticHead, render

_ONE = ("SITE_ID", "SUB_ID", "DX_GROUP", "DSM_IV_TR", "AGE_AT_SCAN", "SEX", "HANDEDNESS_CATEGORY", "FIQ")
_TWO = ("SITE_ID", "SUB_ID", "DX_GROUP ", "PDD_DSM_IV_TR", "AGE_AT_SCAN ", "SEX", "FIQ ", "Größe")
_SITES = ("PITT", "NYU", "UCLA_1")
_LONG = "ABIDEII-UCLA_Long"


@writer(stream=7)
def write_abide(dataset: SyntheticDataset) -> None:
    """Write two thirds of the people into ABIDE I, one third into II, half with autism.

    Autism shows, for the sake of a signal, as half the atrophy of Alzheimer's disease; this is not a claim
    about real people. The folder gets `ABIDE/` and `ABIDEII/` with a table each. Planted: `hires` beside an
    `mprage`; a person followed up in II under the same number at the site `ABIDEII-UCLA_Long`; a person with
    another number in II (50810 and 29355); a person without diagnosis (-9999) and one who is not in a table;
    a table in cp1252 whose headers have trailing spaces.
    """
    tables = _Tables()
    for i in range(dataset.people):
        dx, sex = 1 + i % 2, int(dataset.rng.integers(1, 3))
        age = round(float(dataset.rng.uniform(7, 40)), 2)
        atrophy = 0.5 * (dx == 1) + float(dataset.rng.normal(0, 0.05))
        participant = _Participant(i, dx, sex, age, dataset.person(i, age, "MF"[sex - 1], atrophy))
        if i % 3 == 2:
            _write_second_release(dataset, tables, participant)
        else:
            _write_first_release(dataset, tables, participant)
    for name, header, rows, encoding in (
        ("ABIDE/Phenotypic_V1_0b.csv", _ONE, tables.one, "utf-8"),
        ("ABIDEII/ABIDEII_Composite_Phenotypic.csv", _TWO, tables.two, "cp1252"),
    ):
        write_csv(dataset.root / name, [header, *rows], encoding)


@dataclass(frozen=True)
class _Participant:
    """Describe one person.

    Attributes:
        index: number of the person, which selects planted irregularities.
        dx: DX_GROUP, 1 autism and 2 control.
        sex: 1 male and 2 female.
        age: years.
        head: head of the person.
    """

    index: int
    dx: int
    sex: int
    age: float
    head: SyntheticHead


@dataclass(frozen=True)
class _Tables:
    """Collect the rows of the tables.

    Attributes:
        one: rows of ABIDE I.
        two: rows of ABIDE II.
    """

    one: list[list[object]] = field(default_factory=list)
    two: list[list[object]] = field(default_factory=list)


def _write_second_release(dataset: SyntheticDataset, tables: _Tables, participant: _Participant) -> None:
    number = 29_000 + participant.index
    site = f"ABIDEII-{'NYU_1' if participant.index % 2 else 'KKI_1'}"
    anat = dataset.root / "ABIDEII" / site / f"sub-{number}" / "ses-1" / "anat"
    _write_scan(dataset, anat / f"sub-{number}_ses-1_run-1_T1w.nii.gz", participant.head)
    tables.two.append([site, number, participant.dx, 1, participant.age, participant.sex, 100, ""])
    _list_scan(dataset, number, number, site, participant.dx)


def _write_first_release(dataset: SyntheticDataset, tables: _Tables, participant: _Participant) -> None:
    i, dx, sex, age = participant.index, participant.dx, participant.sex, participant.age
    number = 50_810 if i == 0 else 50_002 + i
    site = _SITES[int(dataset.rng.integers(3))]
    if site == "NYU":
        folder = dataset.root / "ABIDE" / site / f"sub-{number:07d}" / "anat"
        _write_scan(dataset, folder / f"sub-{number:07d}_T1w.nii.gz", participant.head)
    else:
        folder = dataset.root / "ABIDE" / site / f"{number:07d}" / "session_1" / "anat_1"
        _write_scan(dataset, folder / "mprage.nii.gz", participant.head)
        if i % 5 == 0:
            _write_scan(dataset, folder / "hires.nii.gz", participant.head)
            dataset.planted.drop("not a T1w scan of a person")
    if i == 4:
        dataset.planted.drop("not in a phenotypic table")
        return
    tables.one.append([site, number, -9999 if i == 7 else dx, 1, age, sex, "`", -9999])
    if i == 7:
        dataset.planted.drop("no diagnosis (DX_GROUP)")
        return
    _list_scan(dataset, number, number, site, dx)
    if i in (0, 1):  # also in the second release: under another number, under the same
        again = 29_355 if i == 0 else number
        folder = dataset.root / "ABIDEII" / _LONG / f"{again}" / "session_1" / "anat_1"
        _write_scan(dataset, folder / "anat.nii.gz", participant.head, 1)
        tables.two.append([_LONG, again, dx, 1, age + 2, sex, 100, ""])
        _list_scan(dataset, again, number, _LONG, dx)


def _write_scan(dataset: SyntheticDataset, path: Path, head: SyntheticHead, scan: int = 0) -> None:
    codes = "RAS" if dataset.rng.integers(2) else "PSR"
    dataset.save_scan(path, render(head, shape=dataset.shape, scan=scan), codes)


def _list_scan(dataset: SyntheticDataset, number: int, person: int, site: str, dx: int) -> None:
    """Add a scan to those that an index should list."""
    diagnosis = "autism" if dx == 1 else "control"
    dataset.planted.scans.append(
        {"subject": str(number), "person": person, "site": site, "diagnosis": diagnosis}
    )
