"""A synthetic UCSF-PDGM: glioma exams whose table has three digits and whose folders have four."""

from pathlib import Path

import numpy as np

from braindino.synthetic.files import Planted, person, write_csv
from braindino.synthetic.tumours import draw_tumour, write_tumour

_HEADER = (
    "ID", "Sex", "Age at MRI", "WHO CNS Grade", "Final pathologic diagnosis (WHO 2021)", "MGMT status",
    "MGMT index", "1p/19q", "IDH", "1-dead 0-alive", "OS", "EOR", "Biopsy prior to imaging", "BraTS21 ID",
)  # fmt: skip
_NAMES = {"T1w": "_T1", "T1c": "_T1c", "T2w": "_T2", "FLAIR": "_FLAIR"}
_MUTATIONS = ("IDH1 p.R132H", "mutated (NOS)", "IDH2 p.R172K")


def write_ucsf_pdgm(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write two thirds wildtype, one third mutant: mutant tumours are small, solid and do not enhance.

    Methylated tumours (MGMT positive) have half the oedema, co-deleted ones are the smallest.
    Planted: three digits in the table against four in folders; a follow-up named by its date and one named
    in the table by an old number of its own (315); indeterminate and unknown MGMT, relative co-deletion;
    label 4 for enhancing tumour; maps that are no sequence; an exam that is not in the table; one without
    FLAIR.

    Args:
        root: folder to write to; gets `UCSF-PDGM-v3/` and the table.
        people: number of patients.
        sessions: one, or two for the follow-ups.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 11])
    root, planted = Path(root), Planted()
    table: list[list[object]] = [list(_HEADER)]
    for i in range(people):
        # Two have numbers whose follow-ups the table knew by others; the rest lie beyond all real ones.
        number = {0: 433, 1: 391, 2: 4}.get(i, 542 + 3 * i)
        mutant, methylated, deleted = i % 3 == 2, i % 2 == 0, i % 6 == 5
        tumour = draw_tumour(
            rng,
            enhancing=not mutant,
            core=0.0 if mutant else 0.6,
            radius=9.0 if deleted else float(rng.uniform(11, 14) if mutant else rng.uniform(19, 26)),
            oedema=(4.0 if mutant else 9.0) * (1 if methylated else 2),
        )
        age, sex = int(rng.normal(40 if mutant else 60, 8)), "FM"[int(rng.integers(2))]
        head = person(seed, 80_000 + i, age, sex)
        mgmt = {4: "indeterminate", 7: "unknown", 9: ""}.get(i, "positive" if methylated else "negative")
        deletion = "relative co-deletion" if i == 8 else "co-deletion" if deleted else "intact"
        idh = _MUTATIONS[i // 3 % 3] if mutant else "wildtype"
        row = [sex, age, 4, "Glioma", mgmt, "", deletion, idh, 1, 300, "GTR", "No"]
        exams = [(f"{number:04d}", 0, f"UCSF-PDGM-{number:03d}")]
        if sessions > 1 and i == 0:
            exams.append(("0433_FU007d", 1, "UCSF-PDGM-315"))
        if sessions > 1 and i == 1:
            exams.append(("0391_FU016d", 1, "UCSF-PDGM-391_FU016d"))
        for exam, scan, named in exams:
            prefix = root / "UCSF-PDGM-v3" / f"UCSF-PDGM-{exam}_nifti" / f"UCSF-PDGM-{exam}"
            names = dict(_NAMES)
            if i == 10:
                del names["FLAIR"]
            if i == 2:
                names["PD"] = "_ADC"
                planted.drop(f"not one of {', '.join([*(n.strip('_') for n in _NAMES.values())])}, "
                             "tumor_segmentation")  # fmt: skip
            mask = prefix.with_name(f"{prefix.name}_tumor_segmentation.nii.gz")
            write_tumour(rng, prefix, names, head, tumour, shape, mask, four=True, scan=scan)
            if scan:
                planted.drop("follow-up exam", 5)
            elif i == 3:
                planted.drop("not in the table", 5)
                continue
            else:
                planted.scans.append(
                    {
                        "subject": f"UCSF-PDGM-{number:04d}",
                        "idh": "mutant" if mutant else "wildtype",
                        "mgmt": mgmt if mgmt in ("positive", "negative") else "",
                        "codeletion": "" if i == 8 else deletion,
                    }
                )
            table.append([named, *row, f"BraTS2021_{number:05d}" if i % 2 else ""])
    write_csv(root / "UCSF-PDGM-metadata_v2.csv", table)
    return planted
