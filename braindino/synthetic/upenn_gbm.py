"""A synthetic UPENN-GBM: glioblastomas whose size tells survival, with every status the table knows."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, write_csv
from braindino.synthetic.tumours import draw_tumour, write_tumour

_HEADER = (
    "ID", "Gender", "Age_at_scan_years", "Survival_from_surgery_days_UPDATED", "Survival_Status",
    "Survival_Censor", "IDH1", "MGMT", "KPS", "GTR_over90percent", "Time_since_baseline_preop",
    "PsP_TP_score",
)  # fmt: skip
_NAMES = {"T1w": "_T1", "T1c": "_T1GD", "T2w": "_T2", "FLAIR": "_FLAIR"}
_UNCERTAIN = "Deceased - uncertain date of death"


def write_upenn_gbm(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write patients of whom those with a large, necrotic tumour die first.

    Planted: `Not Available` in the column of days for whoever is not deceased; statuses Alive, Lost to
    Follow-up and an uncertain date of death, each censored; one censored within a year; a follow-up (`_21`);
    a folder `old`; a corrected mask beside the automated one; label 4; a patient who is not in the table and
    one of whom no days are known.

    Args:
        root: folder to write to; gets `UPENN-GBM/NIfTI-files/` and the table.
        people: number of patients.
        sessions: one, or two for a follow-up of the first patient.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 12])
    root, planted = Path(root), Planted()
    images, table = root / "UPENN-GBM" / "NIfTI-files", [list[object](_HEADER)]
    for i in range(people):
        patient = f"UPENN-GBM-{i + 1:05d}"
        short = i % 2 == 0
        size = float(rng.uniform(19, 25) if short else rng.uniform(9, 13))
        tumour = draw_tumour(rng, radius=size, core=0.75 if short else 0.3)
        days = round(float(rng.uniform(40, 350) if short else rng.uniform(400, 1500)))
        status = {1: "Alive", 3: "Lost to Follow-up", 4: "Alive", 7: _UNCERTAIN}.get(i, "Deceased")
        sex, age = "FM"[int(rng.integers(2))], round(float(rng.uniform(40, 80)), 2)
        head = person(seed, 90_000 + i, age, sex)
        mask = images / "automated_segm" / f"{patient}_11_automated_approx_segm.nii.gz"
        prefix = images / "images_structural" / f"{patient}_11" / f"{patient}_11"
        write_tumour(rng, prefix, _NAMES, head, tumour, shape, mask, four=True)
        if i == 2:
            write_tumour(
                rng, prefix, {"T1w": "_T1"}, head, tumour, shape,
                images / "images_segm" / f"{patient}_11_segm.nii.gz", four=True,
            )  # fmt: skip
            planted.drop("a corrected mask is there")
            old = prefix.parent / "old" / prefix.name
            write_tumour(rng, old, {"T1w": "_T1"}, head, tumour, shape, None, four=True)
            planted.drop("in a folder called old")
        if i == 0 and sessions > 1:
            later = images / "images_structural" / f"{patient}_21" / f"{patient}_21"
            write_tumour(rng, later, _NAMES, head, tumour, shape, None, four=True, scan=1)
            planted.drop("not the exam before surgery (_11)", 4)
            table.append([f"{patient}_21", sex, age, "Not Available", "Not Available", "Not Available",
                          "Wildtype", "Indeterminate", "NA", "Not Applicable", 200, 3])  # fmt: skip
        if i == 5:
            planted.drop("not in the table", 5)
            continue
        event = status == "Deceased"
        shown = [days, status, "Not Available"] if event else ["Not Available", status, days]
        if i == 9:
            shown = ["Not Available", "Alive", "Not Available"]
            planted.drop("no survival time", 5)
        else:
            one_year = "survived" if days > 365 else "died" if event else ""
            planted.scans.append(
                {"subject": patient, "time": float(days), "event": int(event), "one_year": one_year,
                 "uncertain": status == _UNCERTAIN}
            )  # fmt: skip
        table.append([f"{patient}_11", sex, age, *shown, "NOS/NEC", "Not Available", 90, "Y", 0, "NA"])
    write_csv(root / "UPENN-GBM_clinical_info_v2.1.csv", table)
    return planted
