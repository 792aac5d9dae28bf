"""Write a synthetic UPENN-GBM: glioblastomas whose size determines survival."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_csv
from braindino.synthetic.rendering import Lesion, SyntheticHead
from braindino.synthetic.tumours import draw_tumour, write_tumour

_HEADER = (
    "ID",
    "Gender",
    "Age_at_scan_years",
    "Survival_from_surgery_days_UPDATED",
    "Survival_Status",
    "Survival_Censor",
    "IDH1",
    "MGMT",
    "KPS",
    "GTR_over90percent",
    "Time_since_baseline_preop",
    "PsP_TP_score",
)
_NAMES = {"T1w": "_T1", "T1c": "_T1GD", "T2w": "_T2", "FLAIR": "_FLAIR"}
_UNCERTAIN = "Deceased - uncertain date of death"


@writer(stream=12, sessions=2)
def write_upenn_gbm(dataset: SyntheticDataset) -> None:
    """Write patients of whom those with a large, necrotic tumour die first.

    Planted: `Not Available` in the column of days of patients who are not deceased; statuses Alive, Lost to
    Follow-up and an uncertain date of death, each censored; one censored within a year; a follow-up (`_21`);
    a folder `old`; a corrected mask beside the automated one; label 4; a patient who is not in the table and
    one without days.
    """
    table: list[list[object]] = [list(_HEADER)]
    for i in range(dataset.people):
        short = i % 2 == 0
        size = float(dataset.rng.uniform(19, 25) if short else dataset.rng.uniform(9, 13))
        tumour = draw_tumour(dataset.rng, radius=size, core=0.75 if short else 0.3)
        days = round(float(dataset.rng.uniform(40, 350) if short else dataset.rng.uniform(400, 1500)))
        sex, age = "FM"[int(dataset.rng.integers(2))], round(float(dataset.rng.uniform(40, 80)), 2)
        patient = f"UPENN-GBM-{i + 1:05d}"
        _write_patient(dataset, i, patient, dataset.person(90_000 + i, age, sex), tumour)
        if i == 0 and dataset.sessions > 1:
            unavailable = ["Not Available"] * 3
            rest = ["Wildtype", "Indeterminate", "NA", "Not Applicable", 200, 3]
            table.append([f"{patient}_21", sex, age, *unavailable, *rest])
        if i == 5:
            dataset.planted.drop("not in the table", 5)
            continue
        outcome = _outcome(dataset, i, patient, days)
        table.append([f"{patient}_11", sex, age, *outcome, "NOS/NEC", "Not Available", 90, "Y", 0, "NA"])
    write_csv(dataset.root / "UPENN-GBM_clinical_info_v2.1.csv", table)


def _write_patient(
    dataset: SyntheticDataset, i: int, patient: str, head: SyntheticHead, tumour: Lesion
) -> None:
    """Write the exam before surgery, and the planted files beside it."""
    images = dataset.root / "UPENN-GBM" / "NIfTI-files"
    mask = images / "automated_segm" / f"{patient}_11_automated_approx_segm.nii.gz"
    prefix = images / "images_structural" / f"{patient}_11" / f"{patient}_11"
    write_tumour(dataset, prefix, _NAMES, head, tumour, mask)
    if i == 2:
        corrected = images / "images_segm" / f"{patient}_11_segm.nii.gz"
        write_tumour(dataset, prefix, {"T1w": "_T1"}, head, tumour, corrected)
        dataset.planted.drop("a corrected mask is there")
        write_tumour(dataset, prefix.parent / "old" / prefix.name, {"T1w": "_T1"}, head, tumour)
        dataset.planted.drop("in a folder called old")
    if i == 0 and dataset.sessions > 1:
        later = images / "images_structural" / f"{patient}_21" / f"{patient}_21"
        write_tumour(dataset, later, _NAMES, head, tumour, scan=1)
        dataset.planted.drop("not the exam before surgery (_11)", 4)


def _outcome(dataset: SyntheticDataset, i: int, patient: str, days: int) -> list[object]:
    """Return days to death, status and days to censoring for the table; list the scan."""
    if i == 9:
        dataset.planted.drop("no survival time", 5)
        return ["Not Available", "Alive", "Not Available"]
    status = {1: "Alive", 3: "Lost to Follow-up", 4: "Alive", 7: _UNCERTAIN}.get(i, "Deceased")
    is_dead = status == "Deceased"
    in_a_year = "died" if is_dead else ""
    dataset.planted.scans.append(
        {
            "subject": patient,
            "time": float(days),
            "event": int(is_dead),
            "one_year": "survived" if days > 365 else in_a_year,
            "uncertain": status == _UNCERTAIN,
        }
    )
    return [days, status, "Not Available"] if is_dead else ["Not Available", status, days]
