"""ATLAS (stroke), releases 2.0 to 3.0: days since the stroke, or the lesion's mask."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.generic.bids import entities
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.datasets.masks import above_half
from braindino.datasets.tables import read_table, table_columns
from braindino.errors import DatasetError, TableError

_SCAN = re.compile(r"_(space-MNI152NLin2009aSym|space-orig_desc-brain)_T1w$")
_MASK = re.compile(r"_(space-MNI152NLin2009aSym_label-L|space-orig_label-lesion)_desc-T1lesion_mask$")
_SITE = re.compile(r"^r\d{3}(?=s\d)")
_DAYS = re.compile(r"days.*post.*stroke", re.IGNORECASE)

Case = tuple[str, str]  # subject, session
BySpace = dict[str, Path]  # space of the entity `space` -> file


class ATLAS(ScanDataModule):
    """Anatomical Tracings of Lesions After Stroke: `days` since the stroke, or lesion masks.

    Release 2.0 is in MNI space, with its days in one table; later ones are in the scans' native space, with
    a `..._metadata.csv` per session. If both have a session, the later release is taken. Days below 0 count
    as missing, and so does 0 unless `keep_zero`. The column CHRONICITY is not used. Masks are 1 above half
    their largest value. Splits are balanced over the site and the quintile of days.

    Args:
        root: folder of a release, or of several, with the table of 2.0 (`..._MetaData.xlsx`) beside the
            scans or one level below; or a manifest.
        store: folder of prepared scans.
        task: "days" drops scans without days; "lesion" drops scans without a mask and needs no days.
        keep_zero: whether 0 days is a label.
        **options: see `ScanDataModule`.
    """

    name = "atlas"
    target: ClassVar[tuple[str, ...]] = ("days",)
    stratify: ClassVar[tuple[str, ...]] = ("site",)
    regions: ClassVar[Mapping[str, tuple[int, ...]]] = {"lesion": (1,)}
    mask_rule = staticmethod(above_half)

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        task: Literal["days", "lesion"] = "days",
        keep_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        if task not in ("days", "lesion"):
            raise DatasetError(f"data.task {task!r}: expected days or lesion.")
        self.task, self.keep_zero = task, keep_zero
        self.target = ("days",) if task == "days" else ()  # type: ignore[misc]

    def index(self, root: Path) -> Manifest:
        """Return the manifest of all releases under `root`."""
        rows = ManifestBuilder(self.name)
        scans, masks = _scans_and_masks(root, rows)
        if not scans:
            raise no_scan_error(root, self.name, "sub-r001s001_ses-1_space-..._T1w.nii.gz")
        people, sessions = _people(root), _sessions(root)
        for case, scan in sorted(scans.items()):
            row = sessions.get(case) or people.get(case[0], {})
            _add_case(rows, case, scan, masks.pop(case, {}), row)
        for (subject, _), mask in masks.items():
            for path in mask.values():
                rows.drop(path, subject, "a mask without its scan")
        return rows.build()

    def exclusion_reason(self, scan: dict[str, Any]) -> str:
        """See `ScanDataModule.exclusion_reason`; days below 0, and by default 0, count as missing."""
        if self.task == "lesion" or "days" not in scan:
            return ""
        days = _number(str(scan["days"]))
        if np.isnan(days):
            return "no days post stroke"
        if days < 0:
            return "days post stroke below 0"
        return "0 days post stroke" if days == 0 and not self.keep_zero else ""


def _scans_and_masks(root: Path, rows: ManifestBuilder) -> tuple[dict[Case, BySpace], dict[Case, BySpace]]:
    """Return the T1w scans and the lesion masks of each case; other files are dropped."""
    scans: dict[Case, BySpace] = {}
    masks: dict[Case, BySpace] = {}
    for path in find_scans(root, rows):
        named, name = entities(path), stem(path)
        case = named.get("sub", ""), named.get("ses", "")
        if _SCAN.search(name) and all(case):
            scans.setdefault(case, {})[named["space"]] = path
        elif _MASK.search(name) and all(case):
            masks.setdefault(case, {})[named["space"]] = path
        else:
            rows.drop(path, case[0], "neither a T1w scan nor a lesion mask of ATLAS")
    return scans, masks


def _add_case(
    rows: ManifestBuilder, case: Case, scans: BySpace, masks: BySpace, row: Mapping[str, str]
) -> None:
    """Add the scan of the latest release and its mask, and drop those of other releases.

    Args:
        rows: builder of the manifest.
        case: subject and session.
        scans: the case's scans by space.
        masks: the case's masks by space.
        row: the case's cells `days` and `site`, if a table has them.
    """
    subject, session = case
    space = max(scans)  # "orig" of the later releases sorts after "MNI152..."
    for path in (scans[name] for name in scans if name != space):
        rows.drop(path, subject, "a later release of the session is preferred")
    columns: dict[str, Any] = {
        "session": session,
        "site": row.get("site") or "".join(_SITE.findall(subject)).upper(),
        "days": _number(row.get("days", "")),
    }
    rows.keep(scans[space], subject, "T1w", **columns)
    for name, path in masks.items():
        if name == space:
            rows.keep(path, subject, MASK, **columns)
        else:
            rows.drop(path, subject, "the mask of another release")


def _people(root: Path) -> dict[str, dict[str, str]]:
    """Return person -> days and site, from the tables of release 2.0 if there are any."""
    people: dict[str, dict[str, str]] = {}
    for path in sorted([*root.glob("*ATLAS*eta*ata*"), *root.glob("*/*ATLAS*eta*ata*")]):
        if path.suffix.lower() not in (".xlsx", ".xls", ".csv") or path.name.startswith((".", "~")):
            continue
        columns = table_columns(path)
        days = next((name for name in columns if _DAYS.search(name)), None)
        if days is None:
            raise TableError(
                f"{path}: no column for the days post stroke; found {', '.join(map(repr, columns[:12]))}."
            )
        table = read_table(path, {"id": ("Subject ID",), "days": (days,)}, {"site": ("Site",)})
        for row in table.to_dict("records"):
            people[str(row["id"]).removeprefix("sub-")] = {
                "days": str(row["days"]),
                "site": str(row.get("site", "")),
            }
    return people


def _sessions(root: Path) -> dict[Case, dict[str, str]]:
    """Return session -> days and site, from the tables of later releases, if they have rows."""
    sessions = {}
    for path in sorted(root.rglob("sub-*_metadata.csv")):
        table = read_table(path, {"days": ("DAYS_POST_STROKE",)}, {"site": ("SITE",)})
        named = entities(path.with_suffix(""))
        for row in table.to_dict("records"):
            sessions[named["sub"], named.get("ses", "")] = {str(k): str(cell) for k, cell in row.items()}
    return sessions


def _number(cell: str) -> float:
    """Return a cell as a number, NaN where it is none."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")
