"""UPENN-GBM, glioblastoma before surgery: survival in days with censoring, or death within a year."""

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
_UNCERTAIN = "Deceased - uncertain date of death"


class UPENNGBM(ScanDataModule):
    """University of Pennsylvania glioblastoma: `time` (days from surgery) and `event` (1 death, 0 censored).

    Deceased: an event at `Survival_from_surgery_days_UPDATED`. Alive, lost to follow-up, or deceased at an
    uncertain date: censored at `Survival_Censor`, and kept. The first version of the table has no status:
    its days are those of the deceased. Of several versions the last counts. The mask is the corrected one,
    else the automated one. Only exams before surgery (`_11`) have labels, which count from it.

    `one_year`: died when the event came within 365 days; survived when more than 365 days are known;
    patients censored earlier are dropped, for nobody knows.

    Args:
        root: folder that holds `UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz` at any depth, the
            clinical table in it or one level below, or a manifest.
        store: folder of prepared scans.
        target: "survival" (time and event) or "one_year" (survived, died).
        modalities: of T1w, T1c, T2w, FLAIR.
        uncertain: whether somebody deceased at an uncertain date is "censored" or left out ("drop").
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
        """Manifest of the exams before surgery, and of later ones if they are wanted."""
        rows = ManifestBuilder(self.name)
        scans: list[tuple[Path, Exam, str]] = []
        masks: dict[Exam, dict[str, Path]] = {}
        for path in find_scans(root, rows):
            match = _NAME.match(stem(path))
            if "old" in path.relative_to(root).parts:
                rows.drop(path, "", "in a folder called old")
            elif not match:
                rows.drop(
                    path,
                    "",
                    "neither T1, T1GD, T2, FLAIR nor a mask by its name (UPENN-GBM-00001_11_T1GD.nii.gz)",
                )
            elif match.group(2) != BEFORE_SURGERY and not self.follow_ups:
                rows.drop(path, match.group(1), "not the exam before surgery (_11)")
            elif match.group(3) in _MODALITY:
                scans.append((path, (match.group(1), match.group(2)), _MODALITY[match.group(3)]))
            else:
                masks.setdefault((match.group(1), match.group(2)), {})[match.group(3)] = path
        if not scans:
            raise no_scan_error(root, self.name, "UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz")
        for exam, drawn in masks.items():
            best = drawn.pop("segm", None) or drawn.pop("automated_approx_segm")
            scans.append((best, exam, MASK))
            for path in drawn.values():
                rows.drop(path, exam[0], "a corrected mask is there")
        tables = find_tables(root, ["UPENN-GBM_clinical_info*"], _COLUMNS, _OPTIONAL)
        exams: dict[Exam, dict[str, str]] = {}
        for row in tables[-1].to_dict("records"):
            subject, _, number = str(row["id"]).partition("_")
            exams[subject, number or BEFORE_SURGERY] = {str(name): str(cell) for name, cell in row.items()}
        for path, (subject, number), modality in scans:
            clinical = exams.get((subject, number))
            if clinical is None:
                rows.drop(path, subject, "not in the table")
                continue
            if number != BEFORE_SURGERY:
                rows.keep(
                    path, subject, modality, session=number, sex=clinical.get("sex", ""),
                    age=clinical.get("age", ""), time="", event="", one_year="",
                    idh1=clinical.get("idh1", ""), mgmt=clinical.get("mgmt", ""),
                )  # fmt: skip
                continue
            time, event, problem = self._survival(clinical)
            if problem:
                rows.drop(path, subject, problem)
                continue
            rows.keep(
                path, subject, modality, sex=clinical.get("sex", ""), age=clinical.get("age", ""), time=time,
                event=event, one_year=one_year(time, event), idh1=clinical.get("idh1", ""),
                mgmt=clinical.get("mgmt", ""),
            )  # fmt: skip
        return rows.build()

    def exclusion_reason(self, scan: dict[str, Any]) -> str:
        """See `ScanDataModule.exclusion_reason`."""
        reason = super().exclusion_reason(scan)
        return "censored within a year" if reason == "no one_year" else reason

    def _survival(self, clinical: dict[str, str]) -> tuple[float, int, str]:
        """Time, event, and what is wrong. The status is compared as a whole: one begins like another."""
        status = clinical.get("status", "Deceased")
        if status == _UNCERTAIN and self.uncertain == "drop":
            return 0.0, 0, "uncertain date of death"
        event = int(status == "Deceased")
        try:
            time = float(clinical["days"] if event else clinical.get("censored", ""))
        except ValueError:
            return 0.0, 0, "no survival time"
        return (time, event, "") if time >= 0 else (0.0, 0, "survival time below 0")


def one_year(time: float, event: int) -> str:
    """Class at one year after surgery, or nothing when observation ended before."""
    if time > YEAR:
        return "survived"
    return "died" if event else ""
