"""UCSF-PDGM, diffuse glioma before surgery: IDH, MGMT or 1p/19q from up to four sequences."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.datasets.masks import TUMOUR_REGIONS, enhancing_four
from braindino.datasets.tables import find_tables
from braindino.errors import DatasetError

Exam = tuple[int, int]  # number of the patient, days of the follow-up (0: the first exam)
_EXAM = re.compile(r"^UCSF-PDGM-(\d{3,4})(?:_FU(\d+)d)?(?:_(.+))?$")
_MODALITY = {"T1": "T1w", "T1c": "T1c", "T2": "T2w", "FLAIR": "FLAIR", "tumor_segmentation": MASK}
_COLUMNS = {"id": ("ID",), "idh": ("IDH",)}
_OPTIONAL = {
    "mgmt": ("MGMT status",),
    "codeletion": ("1p/19q",),
    "sex": ("Sex",),
    "age": ("Age at MRI",),
    "brats21": ("BraTS21 ID",),
}
CLASSES = {
    "idh": ("wildtype", "mutant"),
    "mgmt": ("negative", "positive"),
    "codeletion": ("intact", "co-deletion"),
}
# Follow-ups that have a patient number of their own in the second version of the table.
RENUMBERED_EXAMS = {
    315: (433, 7),
    278: (431, 1),
    175: (396, 175),
    138: (429, 3),
    181: (409, 1),
    289: (391, 16),
}


class UCSFPDGM(ScanDataModule):
    """UCSF Preoperative Diffuse Glioma MRI: a molecular marker per exam, grouped by patient.

    The target `idh` is wildtype, or mutant for any other entry. The target `mgmt` is negative or positive;
    indeterminate is dropped. The target `codeletion` (1p/19q) is intact or co-deletion; a relative
    co-deletion is dropped unless `relative_is_codeleted`.

    Exams are matched with the table by the patient's number (three digits there,
    four in folders) and follow-up. If there are several versions of the table, the last is used. The column
    `brats21` contains the case of BraTS 2021 that is the same exam, if any.

    Args:
        root: folder that holds `UCSF-PDGM-0004_nifti/` at any depth, the table in it or one level below, or a
            manifest.
        store: folder of prepared scans.
        target: idh, mgmt or codeletion.
        modalities: some of T1w, T1c, T2w, FLAIR; T1c and FLAIR by default.
        follow_ups: whether exams after the first one are taken.
        relative_is_codeleted: whether a relative co-deletion counts as one.
        **options: see `ScanDataModule`.
    """

    name = "ucsf_pdgm"
    target: ClassVar[tuple[str, ...]] = ("idh",)
    classes: ClassVar[tuple[str, ...]] = CLASSES["idh"]
    modalities: ClassVar[tuple[str, ...]] = ("T1c", "FLAIR")
    regions = TUMOUR_REGIONS
    mask_rule = staticmethod(enhancing_four)

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        target: Literal["idh", "mgmt", "codeletion"] = "idh",
        modalities: list[str] | None = None,
        follow_ups: bool = False,
        relative_is_codeleted: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        if target not in CLASSES:
            raise DatasetError(f"data.target {target!r}: expected {', '.join(CLASSES)}.")
        self.target, self.classes = (target,), CLASSES[target]  # type: ignore[misc]
        self.use_modalities(modalities, ("T1w", "T1c", "T2w", "FLAIR"))
        self.follow_ups, self.relative_is_codeleted = follow_ups, relative_is_codeleted

    def index(self, root: Path) -> Manifest:
        """Return the manifest of all exams."""
        rows = ManifestBuilder(self.name)
        scans: list[tuple[Path, Exam, str]] = []
        for path in find_scans(root, rows):
            match = _EXAM.match(stem(path))
            if not match or not match.group(3):
                rows.drop(path, "", "not named as UCSF-PDGM does (UCSF-PDGM-0004_T1c.nii.gz)")
            elif match.group(3) not in _MODALITY:
                rows.drop(path, _subject(_exam(match)), f"not one of {', '.join(_MODALITY)}")
            else:
                scans.append((path, _exam(match), _MODALITY[match.group(3)]))
        if not scans:
            raise no_scan_error(
                root, self.name, "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1c,T2,FLAIR}.nii.gz"
            )
        table = find_tables(root, ["UCSF-PDGM-metadata*"], _COLUMNS, _OPTIONAL)[-1]
        exams = {}
        for row in table.to_dict("records"):
            if match := _EXAM.match(str(row["id"])):
                exams[_exam(match)] = {str(name): str(cell) for name, cell in row.items()}
        for path, exam, modality in scans:
            clinical, subject = exams.get(exam), _subject(exam)
            if exam[1] and not self.follow_ups:
                rows.drop(path, subject, "follow-up exam")
            elif clinical is None:
                rows.drop(path, subject, "not in the table")
            else:
                rows.keep(
                    path,
                    subject,
                    modality,
                    session=f"FU{exam[1]:03d}d" if exam[1] else "",
                    sex=clinical.get("sex", ""),
                    age=clinical.get("age", ""),
                    **self._labels(clinical),
                    brats21=clinical.get("brats21", ""),
                )
        return rows.build()

    def _labels(self, clinical: dict[str, str]) -> dict[str, str]:
        """Return the class of each marker, `""` where there is none."""
        idh, mgmt = clinical["idh"].lower(), clinical.get("mgmt", "").lower()
        deletion = clinical.get("codeletion", "").lower()
        if deletion == "relative co-deletion" and self.relative_is_codeleted:
            deletion = "co-deletion"
        return {
            "idh": _idh_class(idh),
            "mgmt": mgmt if mgmt in CLASSES["mgmt"] else "",
            "codeletion": deletion if deletion in CLASSES["codeletion"] else "",
        }


def _idh_class(entry: str) -> str:
    """Return the class of an entry of the column IDH in lower case, or `""` if it is blank."""
    if not entry:
        return ""
    return "wildtype" if entry == "wildtype" else "mutant"


def _exam(match: re.Match[str]) -> Exam:
    """Return the exam that a match of `_EXAM` names."""
    number, days = int(match.group(1)), int(match.group(2) or 0)
    return RENUMBERED_EXAMS.get(number, (number, days)) if not days else (number, days)


def _subject(exam: Exam) -> str:
    return f"UCSF-PDGM-{exam[0]:04d}"
