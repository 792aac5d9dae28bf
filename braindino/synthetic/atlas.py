"""A synthetic ATLAS: strokes in release 2.0 and in release 3.0, with its masks, tables and gaps."""

from pathlib import Path

import numpy as np
import pandas as pd

from braindino.synthetic.files import Planted, person, save_mask, save_nifti, write_csv
from braindino.synthetic.heads import Lesion, render

_ONES = (1.0, 0.9999999, 0.01, 255.0)
_HEADER = ("Subject ID", "Session", "Site", "Days Post Stroke", "# Lesions Cortical")


def write_atlas(
    root: Path,
    people: int = 60,
    sessions: int = 1,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write strokes, a third in release 2.0, the others in 3.0; atrophy grows with the days since.

    Atrophy is 0.25 per tenfold of days, which stands for the widening that follows a stroke. Planted: masks
    of 0/1, 0/0.9999999, 0/0.01 and 0/255; images in float64 whose scale varies by 1e5; days that are 0,
    below 0 or blank; a metadata table that is only a header; a byte-order mark; columns in another order; a
    person in both releases; a mask of another shape (the last person's); a scan without mask.

    Args:
        root: folder to write to; gets `ATLAS_2/` and `ATLAS_3/`.
        people: number of people.
        sessions: one; follow-ups are not written.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same scans.
    """
    rng = np.random.default_rng([seed, 10])
    root, planted = Path(root), Planted()
    table: list[list[object]] = []

    for i in range(people):
        site = f"R{1 + i % 3:03d}"
        subject = f"{site.lower()}s{i + 1:03d}"
        days: float | str = round(float(10 ** rng.uniform(0.5, 4)))
        planned: dict[int, float | str] = {4: 0, 7: -4, 10: "", 13: "header only"}
        days = planned.get(i, days)
        known = days if isinstance(days, int | float) else float("nan")
        atrophy = 0.25 * np.log10(1 + max(0.0, known)) if np.isfinite(known) else 0.0
        side = float(rng.choice([-1, 1]))
        where = (side * rng.uniform(25, 38), rng.uniform(-30, 30), rng.uniform(5, 30))
        stroke = Lesion("stroke", where, float(rng.uniform(12, 24)))
        head = person(seed, 70_000 + i, float(rng.uniform(40, 80)), "FM"[i % 2], atrophy)
        scan = render(head, shape=shape, lesion=stroke, stripped=True)
        assert scan.mask is not None
        gain, one = float(10 ** rng.uniform(-2, 3)), _ONES[i % 4]
        releases = ["3.0"] if i % 3 else ["2.0"]
        for release in releases + ["3.0"] * (i == 3):
            folder = root / ("ATLAS_2" if release == "2.0" else "ATLAS_3") / "Training" / site
            name = f"sub-{subject}_ses-1_space-" + ("MNI152NLin2009aSym" if release == "2.0" else "orig")
            anat = folder / f"sub-{subject}" / "ses-1" / "anat"
            codes = "RAS" if release == "2.0" else ("LPI", "ASL", "RAS")[i % 3]
            image = anat / (f"{name}_T1w.nii.gz" if release == "2.0" else f"{name}_desc-brain_T1w.nii.gz")
            save_nifti(image, scan, codes, gain, "float64")
            mask = scan.mask[:-1] if i == people - 1 else scan.mask
            label = "label-L" if release == "2.0" else "label-lesion"
            if i != 5:
                path = anat / f"{name}_{label}_desc-T1lesion_mask.nii.gz"
                save_mask(path, mask, scan.affine, codes, one if release == "3.0" else None)
            if release == "3.0":
                _metadata(anat.parent / f"sub-{subject}_ses-1_metadata.csv", site, days, i)
            else:
                table.append([f"sub-{subject}", "ses-1", site, days, 1])
        if i == 3:  # what release 2.0 holds of it
            planted.drop("a later release of the session is preferred")
            planted.drop("the mask of another release")
        reason = "no days post stroke" if np.isnan(known) else "days post stroke below 0" if known < 0 else ""
        if reason or known == 0:
            planted.drop(reason or "0 days post stroke", 1 if i == 5 else 2)
            continue
        planted.scans.append({"subject": subject, "site": site, "days": float(known), "mask": i != 5})
    (root / "ATLAS_2").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table, columns=list(_HEADER)).to_excel(
        root / "ATLAS_2" / "20220425_ATLAS_2.0_MetaData.xlsx", index=False
    )
    return planted


def _metadata(path: Path, site: str, days: object, i: int) -> None:
    row = {
        "SESSION_ID": "ses-1", "ATLAS2_DATASET": "training", "DAYS_POST_STROKE": days, "CHRONICITY": 180,
        "SITE": site,
    }  # fmt: skip
    columns = list(row) if i % 2 else list(reversed(row))
    header = ["\ufeff" + columns[0], *columns[1:]]
    write_csv(path, [header] if days == "header only" else [header, [row[name] for name in columns]])
