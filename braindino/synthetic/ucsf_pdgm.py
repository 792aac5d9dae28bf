"""Write a synthetic UCSF-PDGM: glioma exams with different ids in table and folders."""

from dataclasses import dataclass

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_csv
from braindino.synthetic.rendering import Lesion, SyntheticHead
from braindino.synthetic.tumours import draw_tumour, write_tumour

_HEADER = (
    "ID",
    "Sex",
    "Age at MRI",
    "WHO CNS Grade",
    "Final pathologic diagnosis (WHO 2021)",
    "MGMT status",
    "MGMT index",
    "1p/19q",
    "IDH",
    "1-dead 0-alive",
    "OS",
    "EOR",
    "Biopsy prior to imaging",
    "BraTS21 ID",
)
_NAMES = {"T1w": "_T1", "T1c": "_T1c", "T2w": "_T2", "FLAIR": "_FLAIR"}
_MUTATIONS = ("IDH1 p.R132H", "mutated (NOS)", "IDH2 p.R172K")


@writer(stream=11, sessions=2)
def write_ucsf_pdgm(dataset: SyntheticDataset) -> None:
    """Write two thirds wildtype, one third mutant: small, solid, not enhancing tumours.

    Methylated tumours (MGMT positive) have half the oedema, co-deleted ones are the smallest.
    Planted: three digits in the table against four in folders; a follow-up named by its date and one named
    in the table by an old number (315); indeterminate and unknown MGMT, relative co-deletion;
    label 4 for enhancing tumour; maps that are not sequences; an exam that is not in the table; one without
    FLAIR.
    """
    table: list[list[object]] = [list(_HEADER)]
    for i in range(dataset.people):
        patient = _draw_patient(dataset, i)
        exams = [(f"{patient.number:04d}", 0, f"UCSF-PDGM-{patient.number:03d}")]
        if dataset.sessions > 1 and i == 0:
            exams.append(("0433_FU007d", 1, "UCSF-PDGM-315"))
        if dataset.sessions > 1 and i == 1:
            exams.append(("0391_FU016d", 1, "UCSF-PDGM-391_FU016d"))
        for exam, scan, name in exams:
            _write_exam(dataset, patient, exam, scan)
            if scan:
                dataset.planted.drop("follow-up exam", 5)
            elif i == 3:
                dataset.planted.drop("not in the table", 5)
                continue
            else:
                dataset.planted.scans.append(patient.labels)
            table.append([name, *patient.row, f"BraTS2021_{patient.number:05d}" if i % 2 else ""])
    write_csv(dataset.root / "UCSF-PDGM-metadata_v2.csv", table)


@dataclass(frozen=True)
class _Patient:
    """Describe one patient.

    Attributes:
        index: number of the patient, which selects planted irregularities.
        number: number of the exam.
        head: head of the patient.
        tumour: lesion in the head.
        row: row of the table, without ids.
        labels: labels of the scan that an index should list.
    """

    index: int
    number: int
    head: SyntheticHead
    tumour: Lesion
    row: list[object]
    labels: dict[str, object]


def _draw_patient(dataset: SyntheticDataset, i: int) -> _Patient:
    rng = dataset.rng
    # The follow-ups of the first two have other numbers in the table; the rest are above all real numbers.
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
    mgmt = {4: "indeterminate", 7: "unknown", 9: ""}.get(i, "positive" if methylated else "negative")
    deletion = "co-deletion" if deleted else "intact"
    if i == 8:
        deletion = "relative co-deletion"
    idh = _MUTATIONS[i // 3 % 3] if mutant else "wildtype"
    labels: dict[str, object] = {
        "subject": f"UCSF-PDGM-{number:04d}",
        "idh": "mutant" if mutant else "wildtype",
        "mgmt": mgmt if mgmt in ("positive", "negative") else "",
        "codeletion": "" if i == 8 else deletion,
    }
    row = [sex, age, 4, "Glioma", mgmt, "", deletion, idh, 1, 300, "GTR", "No"]
    return _Patient(i, number, dataset.person(80_000 + i, age, sex), tumour, row, labels)


def _write_exam(dataset: SyntheticDataset, patient: _Patient, exam: str, scan: int) -> None:
    prefix = dataset.root / "UCSF-PDGM-v3" / f"UCSF-PDGM-{exam}_nifti" / f"UCSF-PDGM-{exam}"
    names = dict(_NAMES)
    if patient.index == 10:
        del names["FLAIR"]
    if patient.index == 2:
        names["PD"] = "_ADC"
        known = ", ".join(name.strip("_") for name in _NAMES.values())
        dataset.planted.drop(f"not one of {known}, tumor_segmentation")
    mask = prefix.with_name(f"{prefix.name}_tumor_segmentation.nii.gz")
    write_tumour(dataset, prefix, names, patient.head, patient.tumour, mask, scan=scan)
