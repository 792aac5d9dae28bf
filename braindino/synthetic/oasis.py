"""A synthetic OASIS-1: big-endian Analyze files on discs, skull-stripped, with the clinical table."""

from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.synthetic.files import Planted, draw_gain, person, write_csv
from braindino.synthetic.heads import render

_HEADER = ("ID", "M/F", "Hand", "Age", "Educ", "SES", "MMSE", "CDR", "eTIV", "nWBV", "ASF", "Delay")
_CDR = ("0", "0.5", "0", "1", "", "0.5")
ATROPHY = {"0": 0.0, "": 0.0, "0.5": 0.6, "1": 1.0}


def write_oasis(
    root: Path,
    people: int = 60,
    sessions: int = 1,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write two discs; half of those with a CDR are demented, every sixth person is young and has none.

    Planted: the RAW scan beside some, which must not be taken; an `_MR2` rescan without CDR; a person who is
    not in the table; `N/A` for missing cells. Analyze has no orientation: axes are left, anterior, superior.

    Args:
        root: folder to write to; gets `disc1/`, `disc2/` and `oasis_cross-sectional.csv`.
        people: number of people.
        sessions: one, or two for a rescan of the second person.
        shape: voxels.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 6])
    root, planted, table = Path(root), Planted(), []
    for i in range(people):
        subject = f"OAS1_{i + 1:04d}"
        cdr = _CDR[i % 6]
        sex = "FM"[int(rng.integers(2))]
        age = round(float(rng.uniform(60, 90))) if cdr else round(float(rng.uniform(18, 45)))
        head = person(seed, i, age, sex, ATROPHY[cdr] + float(rng.normal(0, 0.1)))
        for session in ("MR1", "MR2")[: 2 if i == 1 and sessions > 1 else 1]:
            name = f"{subject}_{session}"
            known = cdr if session == "MR1" else ""
            folder = root / f"disc{1 + i * 2 // max(2, people)}" / name
            gain = draw_gain(rng)
            atlas = folder / "PROCESSED" / "MPRAGE" / "T88_111" / f"{name}_mpr_n4_anon_111_t88_masked_gfc"
            _save_analyze(atlas, render(head, shape=shape, scan=int(session[2]), stripped=True).volume * gain)
            if i % 10 == 2:
                _save_analyze(folder / "RAW" / f"{name}_mpr-1_anon", render(head, shape=shape).volume * gain)
                planted.drop("not the atlas-registered, masked scan (t88_masked_gfc)")
            if i == 7:
                planted.drop("not in the table")
                continue
            if known:
                label = "demented" if known != "0" else "non-demented"
                planted.scans.append({"subject": subject, "session": session, "dementia": label, "sex": sex})
            else:
                planted.drop("no CDR")
            table.append([name, sex, "R", age, 3, "", 28 if known else "", known, 1500, 0.75, 1.2, "N/A"])
    write_csv(root / "oasis_cross-sectional.csv", [_HEADER, *table])
    return planted


def _save_analyze(path: Path, volume: np.ndarray) -> None:
    """Big-endian int16 with a trailing axis of 1, as on the discs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.clip(np.rint(volume[::-1, :, :, None]), 0, 32767).astype(">i2")
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.AnalyzeImage(values, None, header)
    nib.save(image, path.with_name(path.name + ".img"))
