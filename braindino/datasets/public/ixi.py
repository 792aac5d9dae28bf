"""IXI: healthy adults from three hospitals in London; age in years from one sequence."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd

from braindino.datasets.cells import parse_age
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.tables import find_tables
from braindino.errors import DatasetError

_NAME = re.compile(r"^IXI(\d{3})-(Guys|HH|IOP)-(\d{4})-(T1|T2|PD|MRA|DTI-\d\d)\.nii(?:\.gz)?$")
_MODALITY = {"T1": "T1w", "T2": "T2w", "PD": "PD", "MRA": "MRA"}
_COLUMNS = {"id": ("IXI_ID", "MRID", "IXI"), "age": ("AGE",)}
_SEX = {"sex": ("SEX_ID (1=m, 2=f)", "SEX_ID", "Sex")}


class IXI(ScanDataModule):
    """Information eXtraction from Images: age in years at the scan, grouped by person.

    The table (`IXI.xls`, or the same as a CSV) lists some people twice, mostly with one complete row and one
    of zeros: the row with most filled cells is taken. People whose rows contradict each other in sex, or in
    age by more than a year, are dropped, and so are those without an age.

    Args:
        root: folder that holds the scans (`IXI002-Guys-0828-T1.nii.gz`) and the table, or a manifest.
        store: folder of prepared scans.
        sequence: sequence of the scans to take: T1w, T2w, PD or MRA.
        **options: see `ScanDataModule`.
    """

    name = "ixi"
    target: ClassVar[tuple[str, ...]] = ("age",)

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        sequence: Literal["T1w", "T2w", "PD", "MRA"] = "T1w",
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        if sequence not in _MODALITY.values():
            raise DatasetError(f"data.sequence {sequence!r}: expected {', '.join(_MODALITY.values())}.")
        self.sequence = sequence
        self.modalities = (sequence,)  # type: ignore[misc]

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the folder."""
        rows = ManifestBuilder(self.name)
        scans = []
        for path in find_scans(root, rows):
            match = _NAME.match(path.name)
            if match:
                scans.append((path, match.group(1), match.group(2), match.group(4)))
            else:
                rows.drop(path, "", "not named as IXI does (IXI002-Guys-0828-T1.nii.gz)")
        if not scans:
            raise no_scan_error(root, self.name, "IXI<number>-<hospital>-<number>-T1.nii.gz")
        people = _people(find_tables(root, ["IXI*"], _COLUMNS, _SEX)[0])
        for path, number, site, suffix in scans:
            subject = f"IXI{number}"
            age, sex, problem = people.get(int(number), ("", "", "not in the table"))
            if _MODALITY.get(suffix) != self.sequence:
                rows.drop(path, subject, f"not {self.sequence}")
            elif problem:
                rows.drop(path, subject, problem)
            else:
                rows.keep(path, subject, self.sequence, site=site, sex=sex, age=age)
        return rows.build()


def _people(table: pd.DataFrame) -> dict[int, tuple[str, str, str]]:
    """Return number of the person -> age, sex, and the reason to drop the person or `""`."""
    table = table.assign(number=table["id"].str.extract(r"(\d{1,3})", expand=False)).dropna(subset=["number"])
    if "sex" not in table:
        table["sex"] = ""
    table = table.replace({"sex": {"0": "", "0.0": ""}, "age": {"0": "", "0.0": ""}})
    result = {}
    for number, rows in table.groupby(table["number"].astype(int)):
        read = [parse_age(cell) for cell in rows.loc[rows["age"] != "", "age"]]
        ages = pd.Series([years for years, _ in read], dtype=float)
        sexes = set(rows.loc[rows["sex"] != "", "sex"])
        if ages.isna().any():
            problem = f"age is no number in the table ({next(reason for _, reason in read if reason)})"
        elif len(sexes) > 1 or (len(ages) and ages.max() - ages.min() > 1):
            problem = "rows of the table contradict each other"
        else:
            problem = "" if len(ages) else "no age in the table"
        fullest = rows.iloc[int((rows != "").sum(axis=1).to_numpy().argmax())]
        age = fullest["age"] or (str(ages.iloc[0]) if len(ages) else "")
        result[int(str(number))] = (str(age), next(iter(sexes), ""), problem)
    return result
