"""UPENN-GBM, glioblastoma before surgery: censored survival in days, or death in a year."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.datasets.masks import TUMOUR_REGIONS, enhancing_four
from braindino.datasets.tables import find_tables
from braindino.errors import DatasetError

YEAR = 365.0  # days
BEFORE_SURGERY = "11"
Exam = tuple[str, str]  # patient, number of the exam
_NAME = re.compile(r"^(UPENN-GBM-\d{5})_(\d\d)_(T1|T1GD|T2|FLAIR|segm|automated_approx_segm)$")
_MODALITY = {"T1": "T1w", "T1GD": "T1c", "T2": "T2w", "FLAIR": "FLAIR"}
_COLUMNS = {
    "id": ("ID",),
    "days": ("Survival_from_surgery_days_UPDATED", "Survival_from_surgery_days"),
}
_OPTIONAL = {
    "status": ("Survival_Status",),
    "censored": ("Survival_Censor",),
    "sex": ("Gender",),
    "age": ("Age_at_scan_years",),
    "idh1": ("IDH1",),
    "mgmt": ("MGMT",),
}
_OTHER_FILE = "neither T1, T1GD, T2, FLAIR nor a mask by its name (UPENN-GBM-00001_11_T1GD.nii.gz)"
_UNCERTAIN = "Deceased - uncertain date of death"


class UPENNGBM(ScanDataModule):
    """University of Pennsylvania glioblastoma: survival `time` and `event`, or `one_year`.

    `time` is in days from surgery; `event` is 1 for death, 0 for censoring. Deceased patients have an event
    at `Survival_from_surgery_days_UPDATED`. Patients who are alive, lost to follow-up, or deceased at an
    uncertain date are censored at `Survival_Censor`. The first version of the table has no status: all its
    days are times of death. If there are several versions of the table, the last is used. The mask is the
    corrected one, else the automated one. Only exams before surgery (`_11`) have labels, as times count from
    surgery.

    `one_year` is `died` if the event is within 365 days, and `survived` if the time is longer; patients
    censored within the year are dropped.

    Args:
        root: folder that holds `UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz` at any depth, the
            clinical table in it or one level below, or a manifest.
        store: folder of prepared scans.
        target: "survival" (time and event) or "one_year" (survived, died).
        modalities: some of T1w, T1c, T2w, FLAIR; all by default.
        uncertain: whether patients deceased at an uncertain date count as "censored" or are dropped ("drop").
        follow_ups: whether exams after surgery (`_21`) are taken, as sessions without labels.
        **options: see `ScanDataModule`.
    """

    name = "upenn_gbm"
    target: ClassVar[tuple[str, ...]] = ("time", "event")
    modalities: ClassVar[tuple[str, ...]] = ("T1w", "T1c", "T2w", "FLAIR")
    regions = TUMOUR_REGIONS
    mask_rule = staticmethod(enhancing_four)

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        target: Literal["survival", "one_year"] = "survival",
        modalities: list[str] | None = None,
        uncertain: Literal["censored", "drop"] = "censored",
        follow_ups: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        if target not in ("survival", "one_year") or uncertain not in ("censored", "drop"):
            raise DatasetError(
                f"data.target {target!r}, data.uncertain {uncertain!r}: expected survival or one_year, "
                "and censored or drop."
            )
        if target == "one_year":
            self.target, self.classes = ("one_year",), ("survived", "died")  # type: ignore[misc]
        self.use_modalities(modalities, self.modalities)
        self.uncertain, self.follow_ups = uncertain, follow_ups

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the exams before surgery, and of later ones if `follow_ups`."""
        rows = ManifestBuilder(self.name)
        scans, masks = self._scans_and_masks(root, rows)
        if not scans:
            raise no_scan_error(root, self.name, "UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz")
        scans += _best_masks(masks, rows)
        exams = _read_exams(root)
        for path, (subject, number), modality in scans:
            clinical = exams.get((subject, number))
            if clinical is None:
                rows.drop(path, subject, "not in the table")
                continue
            columns: dict[str, Any] = {
                "sex": clinical.get("sex", ""),
                "age": clinical.get("age", ""),
                "time": "",
                "event": "",
                "one_year": "",
                "idh1": clinical.get("idh1", ""),
                "mgmt": clinical.get("mgmt", ""),
            }
            if number != BEFORE_SURGERY:
                rows.keep(path, subject, modality, session=number, **columns)
                continue
            time, event, reason = self._survival(clinical)
            if reason:
                rows.drop(path, subject, reason)
            else:
                columns |= {"time": time, "event": event, "one_year": one_year(time, event)}
                rows.keep(path, subject, modality, **columns)
        return rows.build()

    def _scans_and_masks(
        self, root: Path, rows: ManifestBuilder
    ) -> tuple[list[tuple[Path, Exam, str]], dict[Exam, dict[str, Path]]]:
        """Return scans with exam and modality, and masks by exam and kind; drop other files."""
        scans: list[tuple[Path, Exam, str]] = []
        masks: dict[Exam, dict[str, Path]] = {}
        for path in find_scans(root, rows):
            match = _NAME.match(stem(path))
            if "old" in path.relative_to(root).parts:
                rows.drop(path, "", "in a folder called old")
            elif not match:
                rows.drop(path, "", _OTHER_FILE)
            elif match.group(2) != BEFORE_SURGERY and not self.follow_ups:
                rows.drop(path, match.group(1), "not the exam before surgery (_11)")
            elif match.group(3) in _MODALITY:
                scans.append((path, (match.group(1), match.group(2)), _MODALITY[match.group(3)]))
            else:
                masks.setdefault((match.group(1), match.group(2)), {})[match.group(3)] = path
        return scans, masks

    def exclusion_reason(self, scan: dict[str, Any]) -> str:
        """See `ScanDataModule.exclusion_reason`; a missing `one_year` is a censored time."""
        reason = super().exclusion_reason(scan)
        return "censored within a year" if reason == "no one_year" else reason

    def _survival(self, clinical: dict[str, str]) -> tuple[float, int, str]:
        """Return time [days], event, and the reason to drop the patient or `""`.

        The status is compared as a whole, as "Deceased - uncertain date of death" begins like another one.
        """
        status = clinical.get("status", "Deceased")
        if status == _UNCERTAIN and self.uncertain == "drop":
            return 0.0, 0, "uncertain date of death"
        event = int(status == "Deceased")
        try:
            time = float(clinical["days"] if event else clinical.get("censored", ""))
        except ValueError:
            return 0.0, 0, "no survival time"
        return (time, event, "") if time >= 0 else (0.0, 0, "survival time below 0")


def _best_masks(masks: dict[Exam, dict[str, Path]], rows: ManifestBuilder) -> list[tuple[Path, Exam, str]]:
    """Return the corrected mask of each exam, else the automated one; other masks are dropped."""
    best = []
    for exam, by_kind in masks.items():
        kind = "segm" if "segm" in by_kind else "automated_approx_segm"
        best.append((by_kind.pop(kind), exam, MASK))
        for path in by_kind.values():
            rows.drop(path, exam[0], "a corrected mask is there")
    return best


def _read_exams(root: Path) -> dict[Exam, dict[str, str]]:
    """Return exam -> cells of the clinical table; an id without a number is that before surgery."""
    table = find_tables(root, ["UPENN-GBM_clinical_info*"], _COLUMNS, _OPTIONAL)[-1]
    exams: dict[Exam, dict[str, str]] = {}
    for row in table.to_dict("records"):
        subject, _, number = str(row["id"]).partition("_")
        exams[subject, number or BEFORE_SURGERY] = {str(name): str(cell) for name, cell in row.items()}
    return exams


def one_year(time: float, event: int) -> str:
    """Return the class at one year after surgery, or `""` if the observation ended before.

    Args:
        time: days from surgery to death or to the end of observation.
        event: 1 for death, 0 for censoring.
    """
    if time > YEAR:
        return "survived"
    return "died" if event else ""
