"""Write synthetic BraTS 2021, 2023 and 2024 (GoAT): four sequences and a mask per case."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.rendering import SyntheticHead
from braindino.synthetic.tumours import draw_tumour, write_tumour

_OLD = {"T1w": "_t1", "T1c": "_t1ce", "T2w": "_t2", "FLAIR": "_flair"}
_NEW = {"T1w": "-t1n", "T1c": "-t1c", "T2w": "-t2w", "FLAIR": "-t2f"}


@writer(stream=13)
def write_brats2021(dataset: SyntheticDataset) -> None:
    """Write glioma; enhancing tumour is 4.

    Planted: cases 00626 and 00758 of one patient, 00557 and 00639 of another; a validation case without
    mask; a case without T2; a file that does not belong to a case.
    """
    cases = _Cases(dataset, "BraTS2021_Training_Data")
    for i in range(dataset.people):
        numbers = {0: ("00626", "00758"), 1: ("00557", "00639")}.get(i, (f"{1000 + i:05d}",))
        for scan, number in enumerate(numbers):
            case = f"BraTS2021_{number}"
            cases.write(i, case, case, "", numbers[0], _OLD, "_", scan)
    if dataset.people > 4:
        cases.write_stray_file("BraTS2021_01004/BraTS2021_01004_prediction")
        dataset.planted.drop("not named as brats2021 does (BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz)")


@writer(stream=14, sessions=2)
def write_brats2023(dataset: SyntheticDataset) -> None:
    """Write glioma, meningioma and metastases in turn, each cohort in a folder of its own.

    Planted: a person of GLI with two timepoints; a case of PED, which is excluded by default; a
    validation case without mask; a case without T2.
    """
    cases = _Cases(dataset)
    for i in range(dataset.people):
        cohort = "PED" if i == 7 else ("GLI", "MEN", "MET")[i % 3]
        for timepoint in range(2 if i == 0 and dataset.sessions > 1 else 1):
            patient = f"{cohort}-{5 * i:05d}"
            name = f"{cohort}/BraTS-{patient}-{timepoint:03d}"
            session = f"{timepoint:03d}"
            cases.write(i, name, patient, session, patient, _NEW, "-", timepoint, cohort)


@writer(stream=15)
def write_brats2024_goat(dataset: SyntheticDataset) -> None:
    """Write tumours of mixed kinds under one numbering without timepoints.

    Planted: a validation case without mask; a case without T2.
    """
    cases = _Cases(dataset)
    for i in range(dataset.people):
        cases.write(i, f"BraTS-GoAT-{i:05d}", f"GoAT-{i:05d}", "", f"{i:05d}", _NEW, "-", 0)


class _Cases:
    """Write cases of an edition into a folder below the root of the dataset."""

    def __init__(self, dataset: SyntheticDataset, folder: str = "") -> None:
        self.dataset, self.root = dataset, dataset.root / folder

    def write(
        self,
        i: int,
        folder: str,
        subject: str,
        session: str,
        group: str,
        names: dict[str, str],
        between: str,
        scan: int,
        cohort: str = "",
    ) -> None:
        """Write a case: meningioma is solid, metastases are small, glioma has a necrotic core."""
        given = {"MEN": {"core": -1.0, "oedema": 6.0}, "MET": {"radius": 10.0}}.get(cohort, {})
        tumour = draw_tumour(self.dataset.rng, **given)
        head = self.dataset.person(95_000 + i, 60, "FM"[i % 2])
        prefix = self.root / folder / folder.rpartition("/")[2]
        written = {name: suffix for name, suffix in names.items() if not (i == 4 and name == "T2w")}
        mask = None if i == 3 else prefix.with_name(f"{prefix.name}{between}seg.nii.gz")
        four = between == "_"
        write_tumour(self.dataset, prefix, written, head, tumour, mask, four, scan)
        if cohort == "PED":
            self.dataset.planted.drop("cohort PED is not requested", len(written) + 1)
            return
        if mask is None:
            self.dataset.planted.drop("no mask", len(written))
            return
        self.dataset.planted.scans.append(
            {"subject": subject, "session": session, "person": group, "sequences": len(written)}
        )

    def write_stray_file(self, name: str) -> None:
        """Write a file beside a case that does not belong to it."""
        head, tumour = SyntheticHead(self.dataset.seed), draw_tumour(self.dataset.rng)
        write_tumour(self.dataset, self.root / name, {"T1w": ""}, head, tumour)
