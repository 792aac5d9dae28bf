"""ABIDE I and II: autism spectrum disorder or typical control, at over two dozen sites."""

import re
from pathlib import Path
from typing import ClassVar

import pandas as pd

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.tables import find_tables

_COLUMNS = {"id": ("SUB_ID",), "site": ("SITE_ID",), "dx": ("DX_GROUP",)}
_OPTIONAL = {"age": ("AGE_AT_SCAN",), "sex": ("SEX",)}
_FOLDER = re.compile(r"^(?:sub-)?(?:00)?(\d{5})$")
_SCAN = re.compile(r"(^|_)(T1w|mprage|anat)$")
_SESSION = re.compile(r"^ses(?:sion)?[-_](\w+)$")
# People who are in both releases under two ids: ABIDE II -> ABIDE I.
SAME_PERSON = {
    29355: 50810,
    29357: 50811,
    29358: 50783,
    29353: 50780,
    29352: 50779,
    29364: 50790,
    29506: 50509,
}


class ABIDE(ScanDataModule):
    """Autism Brain Imaging Data Exchange, I and II, together or one alone: control 0, autism 1.

    The label is `DX_GROUP` (1 autism, 2 control) of the phenotypic tables. The person is the number SUB_ID
    over both releases (the `_Long` sites of II follow up people of I); seven people are known to have two.
    The first scan of each session is taken. If a person has several rows, the one of the scan's site folder
    counts, else the first. Splits are stratified by site.

    Args:
        root: folder that holds either release or both, in any of their layouts, with their tables, or a
            manifest.
        store: folder of prepared scans.
        **options: see `ScanDataModule`.
    """

    name = "abide"
    target: ClassVar[tuple[str, ...]] = ("diagnosis",)
    classes: ClassVar[tuple[str, ...]] = ("control", "autism")
    stratify: ClassVar[tuple[str, ...]] = ("site",)

    def index(self, root: Path) -> Manifest:
        """Return the manifest of all sites under `root`."""
        rows = ManifestBuilder(self.name)
        scans = []
        for path in find_scans(root, rows):
            folders = path.relative_to(root).parts[:-1]
            numbers = [match.group(1) for part in folders if (match := _FOLDER.match(part))]
            if numbers and _SCAN.search(stem(path)):
                sessions = [match.group(1) for part in folders if (match := _SESSION.match(part))]
                scans.append(
                    (path, int(numbers[0]), (sessions or ["1"])[0], {part.lower() for part in folders})
                )
            else:
                rows.drop(path, "", "not a T1w scan of a person")
        if not scans:
            raise no_scan_error(root, self.name, "sub-00<id>_T1w, or 00<id>/session_1/anat_1/mprage or anat")
        tables = find_tables(root, ["Phenotypic_V1_0b*", "ABIDEII_*henotypic*"], _COLUMNS, _OPTIONAL)
        people = _people(pd.concat(tables, ignore_index=True))
        taken = set()
        for path, number, session, site_names in scans:
            candidates = people.get(number, [])
            of_site = [row for row in candidates if row["site"].lower() in site_names]
            row = next(iter(of_site or candidates), None)
            site = "" if row is None else row["site"]
            if row is None:
                rows.drop(path, str(number), "not in a phenotypic table")
            elif row["dx"] not in ("1", "2"):
                rows.drop(path, str(number), "no diagnosis (DX_GROUP)")
            elif (number, site, session) in taken:
                rows.drop(path, str(number), "another scan of the session is preferred")
            else:
                taken.add((number, site, session))
                rows.keep(
                    path,
                    str(number),
                    "T1w",
                    group=f"abide:{SAME_PERSON.get(number, number)}",
                    session=f"{site}-{session}",
                    site=site,
                    sex=row["sex"],
                    age=row["age"],
                    diagnosis="autism" if row["dx"] == "1" else "control",
                )
        return rows.build()


def _people(table: pd.DataFrame) -> dict[int, list[dict[str, str]]]:
    """Return number of the person -> rows; missing cells (-9999, a stray backtick) are blank."""
    people: dict[int, list[dict[str, str]]] = {}
    for record in table.to_dict("records"):
        row = {str(column): _clean(str(cell)) for column, cell in record.items() if isinstance(cell, str)}
        if row["id"].isdecimal():
            people.setdefault(int(row["id"]), []).append({"age": "", "sex": "", **row})
    return people


def _clean(cell: str) -> str:
    """Return a cell as text: `1.0` becomes `1`, a stray backtick is removed, -9999 is blank."""
    cell = cell.strip("` ").removesuffix(".0")
    return "" if cell == "-9999" else cell
