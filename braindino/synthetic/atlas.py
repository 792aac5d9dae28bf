"""Write a synthetic ATLAS: strokes in releases 2.0 and 3.0, with masks and tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import save_mask, save_nifti, write_csv
from braindino.synthetic.rendering import Lesion, Rendered, render

_ONES = (1.0, 0.9999999, 0.01, 255.0)
_HEADER = ("Subject ID", "Session", "Site", "Days Post Stroke", "# Lesions Cortical")


@writer(stream=10)
def write_atlas(dataset: SyntheticDataset) -> None:
    """Write strokes, a third in release 2.0, the rest in 3.0; atrophy grows with the days.

    Atrophy is 0.25 per tenfold of days, which stands for the widening that follows a stroke. The folder gets
    `ATLAS_2/` and `ATLAS_3/`. Planted: masks of 0/1, 0/0.9999999, 0/0.01 and 0/255; images in float64 whose
    scale varies by 1e5; days that are 0, below 0 or blank; a metadata table that is only a header; a
    byte-order mark; columns in another order; a person in both releases; a mask of another shape (the last
    person's); a scan without mask.
    """
    table: list[list[object]] = []
    for i in range(dataset.people):
        stroke = _draw_stroke(dataset, i)
        releases = ["3.0"] if i % 3 else ["2.0"]
        if i == 3:
            releases = ["2.0", "3.0"]
        for release in releases:
            _write_scan(dataset, stroke, release, table)
        if i == 3:  # the files of release 2.0
            dataset.planted.drop("a later release of the session is preferred")
            dataset.planted.drop("the mask of another release")
        days = stroke.known_days
        reason = "days post stroke below 0" if days < 0 else ""
        if np.isnan(days):
            reason = "no days post stroke"
        if reason or days == 0:
            dataset.planted.drop(reason or "0 days post stroke", 1 if i == 5 else 2)
            continue
        dataset.planted.scans.append(
            {"subject": stroke.subject, "site": stroke.site, "days": float(days), "mask": i != 5}
        )
    (dataset.root / "ATLAS_2").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table, columns=list(_HEADER)).to_excel(
        dataset.root / "ATLAS_2" / "20220425_ATLAS_2.0_MetaData.xlsx", index=False
    )


@dataclass(frozen=True)
class _Stroke:
    """Describe one person.

    Attributes:
        index: number of the person, which selects planted irregularities.
        site: site of the scan.
        subject: id of the person.
        days: days since the stroke as the table has them.
        scan: scan with the stroke.
        gain: stored value of 1.0.
    """

    index: int
    site: str
    subject: str
    days: float | str
    scan: Rendered
    gain: float

    @property
    def known_days(self) -> float:
        """Return the days since the stroke, NaN if the table does not contain them."""
        return self.days if isinstance(self.days, int | float) else float("nan")


def _draw_stroke(dataset: SyntheticDataset, i: int) -> _Stroke:
    site = f"R{1 + i % 3:03d}"
    drawn = round(float(10 ** dataset.rng.uniform(0.5, 4)))
    planned: dict[int, float | str] = {4: 0, 7: -4, 10: "", 13: "header only"}
    days = planned.get(i, drawn)
    atrophy = 0.25 * np.log10(1 + max(0.0, days)) if isinstance(days, int | float) else 0.0
    side = float(dataset.rng.choice([-1, 1]))
    where = (
        side * dataset.rng.uniform(25, 38),
        dataset.rng.uniform(-30, 30),
        dataset.rng.uniform(5, 30),
    )
    lesion = Lesion("stroke", where, float(dataset.rng.uniform(12, 24)))
    head = dataset.person(70_000 + i, float(dataset.rng.uniform(40, 80)), "FM"[i % 2], atrophy)
    scan = render(head, shape=dataset.shape, lesion=lesion, stripped=True)
    gain = float(10 ** dataset.rng.uniform(-2, 3))
    return _Stroke(i, site, f"{site.lower()}s{i + 1:03d}", days, scan, gain)


def _write_scan(dataset: SyntheticDataset, stroke: _Stroke, release: str, table: list[list[object]]) -> None:
    """Write scan, mask and metadata of a person as a release has them."""
    i, scan, subject = stroke.index, stroke.scan, stroke.subject
    assert scan.mask is not None
    mask = scan.mask[:-1] if i == dataset.people - 1 else scan.mask
    if release == "2.0":
        folder, space, suffix, label = "ATLAS_2", "MNI152NLin2009aSym", "T1w", "label-L"
        codes, one = "RAS", None
    else:
        folder, space, suffix, label = "ATLAS_3", "orig", "desc-brain_T1w", "label-lesion"
        codes, one = ("LPI", "ASL", "RAS")[i % 3], _ONES[i % 4]
    session = dataset.root / folder / "Training" / stroke.site / f"sub-{subject}" / "ses-1"
    name = f"sub-{subject}_ses-1_space-{space}"
    save_nifti(session / "anat" / f"{name}_{suffix}.nii.gz", scan, codes, stroke.gain, "float64")
    if i != 5:
        path = session / "anat" / f"{name}_{label}_desc-T1lesion_mask.nii.gz"
        save_mask(path, mask, scan.affine, codes, one)
    if release == "3.0":
        _metadata(session / f"sub-{subject}_ses-1_metadata.csv", stroke.site, stroke.days, i)
    else:
        table.append([f"sub-{subject}", "ses-1", stroke.site, stroke.days, 1])


def _metadata(path: Path, site: str, days: object, i: int) -> None:
    row = {
        "SESSION_ID": "ses-1",
        "ATLAS2_DATASET": "training",
        "DAYS_POST_STROKE": days,
        "CHRONICITY": 180,
        "SITE": site,
    }
    columns = list(row) if i % 2 else list(reversed(row))
    header = ["\ufeff" + columns[0], *columns[1:]]
    write_csv(path, [header] if days == "header only" else [header, [row[name] for name in columns]])
