"""OASIS-1: dementia (CDR above 0) from the atlas-registered, skull-stripped T1w scan."""

import re
from pathlib import Path
from typing import Any, ClassVar

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.tables import find_tables

_SESSION = re.compile(r"(OAS1_\d{4})_MR(\d)")
_WANTED = re.compile(r"_mpr_n\d_anon_111_t88_masked_gfc$")
_NUMBER = re.compile(r"\d+(\.\d*)?")
_COLUMNS = {"id": ("ID",), "cdr": ("CDR",)}
_OPTIONAL = {"sex": ("M/F",), "age": ("Age",)}


class OASIS(ScanDataModule):
    """OASIS-1, cross-sectional: non-demented (CDR 0) or demented (CDR above 0).

    Sessions are grouped by person. Only `*_mpr_n*_anon_111_t88_masked_gfc` is taken: RAW and SUBJ_111 have
    wrong headers. Sessions without a CDR (of young people, and the `_MR2` rescans) are dropped unless
    `blank_is_control`; most controls are then young, so that the label can be predicted from age.

    Args:
        root: folder that holds the discs and `oasis_cross-sectional.csv` (or .xlsx), or a manifest.
        store: folder of prepared scans.
        blank_is_control: whether a blank CDR counts as 0.
        **options: see `ScanDataModule`.
    """

    name = "oasis"
    target: ClassVar[tuple[str, ...]] = ("dementia",)
    classes: ClassVar[tuple[str, ...]] = ("non-demented", "demented")

    def __init__(
        self, root: Path | str, store: Path | str = "store", *, blank_is_control: bool = False, **options: Any
    ) -> None:
        super().__init__(root, store, **options)
        self.blank_is_control = blank_is_control

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the discs."""
        rows = ManifestBuilder(self.name)
        scans = []
        for path in find_scans(root, rows):
            match = _SESSION.search(path.name)
            if not match:
                rows.drop(path, "", "not named as OASIS-1 does (OAS1_<number>_MR<session>_...)")
            elif not _WANTED.search(path.stem):
                rows.drop(path, match.group(1), "not the atlas-registered, masked scan (t88_masked_gfc)")
            else:
                scans.append((path, match.group(1), match.group(2)))
        if not scans:
            raise no_scan_error(
                root, self.name, "OAS1_<number>_MR1_mpr_n*_anon_111_t88_masked_gfc.hdr and .img"
            )
        table = find_tables(root, ["oasis_cross-sectional*"], _COLUMNS, _OPTIONAL)[0]
        clinical = table.drop_duplicates("id").set_index("id").to_dict("index")
        for path, subject, session in scans:
            row = clinical.get(f"{subject}_MR{session}")
            cdr = "" if row is None else str(row["cdr"])
            if row is None:
                rows.drop(path, subject, "not in the table")
            elif not cdr and not self.blank_is_control:
                rows.drop(path, subject, "no CDR")
            elif cdr and not _NUMBER.fullmatch(cdr):
                rows.drop(path, subject, f"CDR is no number: {cdr}")
            else:
                rows.keep(
                    path,
                    subject,
                    "T1w",
                    session=f"MR{session}",
                    sex=row.get("sex", ""),
                    age=row.get("age", ""),
                    dementia=self.classes[int(float(cdr or 0) > 0)],
                    cdr=cdr,
                )
        return rows.build()
