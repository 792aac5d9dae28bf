"""Write a synthetic OASIS-1: big-endian Analyze files on discs, with the clinical table."""

from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import draw_gain, write_csv
from braindino.synthetic.rendering import render

_HEADER = ("ID", "M/F", "Hand", "Age", "Educ", "SES", "MMSE", "CDR", "eTIV", "nWBV", "ASF", "Delay")
_CDR = ("0", "0.5", "0", "1", "", "0.5")
ATROPHY = {"0": 0.0, "": 0.0, "0.5": 0.6, "1": 1.0}


@writer(stream=6)
def write_oasis(dataset: SyntheticDataset) -> None:
    """Write two discs; half of the people with a CDR are demented, every sixth has none.

    Planted: the RAW scan beside some, which must not be used; an `_MR2` rescan without CDR; a person who is
    not in the table; `N/A` for missing cells. Analyze has no orientation: axes are left, anterior, superior.
    """
    table: list[list[object]] = []
    for i in range(dataset.people):
        subject = f"OAS1_{i + 1:04d}"
        cdr = _CDR[i % 6]
        sex = "FM"[int(dataset.rng.integers(2))]
        age = round(float(dataset.rng.uniform(60, 90))) if cdr else round(float(dataset.rng.uniform(18, 45)))
        head = dataset.person(i, age, sex, ATROPHY[cdr] + float(dataset.rng.normal(0, 0.1)))
        for session in ("MR1", "MR2")[: 2 if i == 1 and dataset.sessions > 1 else 1]:
            name = f"{subject}_{session}"
            known = cdr if session == "MR1" else ""
            folder = dataset.root / f"disc{1 + i * 2 // max(2, dataset.people)}" / name
            gain = draw_gain(dataset.rng)
            atlas = folder / "PROCESSED" / "MPRAGE" / "T88_111" / f"{name}_mpr_n4_anon_111_t88_masked_gfc"
            stripped = render(head, shape=dataset.shape, scan=int(session[2]), stripped=True)
            _save_analyze(atlas, stripped.volume * gain)
            if i % 10 == 2:
                raw = render(head, shape=dataset.shape)
                _save_analyze(folder / "RAW" / f"{name}_mpr-1_anon", raw.volume * gain)
                dataset.planted.drop("not the atlas-registered, masked scan (t88_masked_gfc)")
            if i == 7:
                dataset.planted.drop("not in the table")
                continue
            if known:
                label = "demented" if known != "0" else "non-demented"
                dataset.planted.scans.append(
                    {"subject": subject, "session": session, "dementia": label, "sex": sex}
                )
            else:
                dataset.planted.drop("no CDR")
            table.append([name, sex, "R", age, 3, "", 28 if known else "", known, 1500, 0.75, 1.2, "N/A"])
    write_csv(dataset.root / "oasis_cross-sectional.csv", [_HEADER, *table])


def _save_analyze(path: Path, volume: np.ndarray) -> None:
    """Write big-endian int16 with a trailing axis of 1, as on the discs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.clip(np.rint(volume[::-1, :, :, None]), 0, 32767).astype(">i2")
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.AnalyzeImage(values, None, header)
    nib.save(image, path.with_name(path.name + ".img"))
