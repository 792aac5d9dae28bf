"""Write a synthetic ADNI: folders, file names and tables of the archive."""

import csv
from datetime import date, timedelta
from typing import Any

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.files import write_csv
from braindino.synthetic.rendering import SyntheticHead, render

ATROPHY = {"CN": 0.0, "MCI": 0.5, "AD": 1.0}
_DX = {"CN": "CN", "MCI": "MCI", "AD": "Dementia"}
_GROUPS = {"CN": ("CN", "SMC"), "MCI": ("EMCI", "LMCI", "MCI"), "AD": ("AD",)}
_SITES = ("002", "011", "023", "098", "136")
_MERGE = (
    "RID",
    "PTID",
    "VISCODE",
    "EXAMDATE",
    "COLPROT",
    "ORIGPROT",
    "SITE",
    "DX_bl",
    "DX",
    "AGE",
    "PTGENDER",
)
_IDA = (
    "Image Data ID",
    "Subject",
    "Group",
    "Sex",
    "Age",
    "Visit",
    "Modality",
    "Description",
    "Type",
    "Acq Date",
    "Format",
    "Downloaded",
)
SCALED = "MPR; GradWarp; B1 Correction; N3; Scaled"


@writer(stream=4, sessions=2)
def write_adni(dataset: SyntheticDataset) -> None:
    """Write a cohort of CN, MCI and AD in equal parts; only atrophy depends on the label.

    Age, sex, site, orientation, gain and a file's description are drawn independently of the diagnosis.
    Every person has 1 to `sessions` sessions, a year apart. Planted, if there are enough people:
    a person who converts from MCI to AD, a repeated scan, a processed scan beside the raw one, a mask, a
    localizer, a FLAIR, a visit with blank DX, a visit far from any DX, and a person of Group "Patient"
    without any DX.
    """
    archive = _Archive(dataset)
    for i in range(dataset.people):
        final = ("AD", "CN", "MCI")[i % 3]
        site = _SITES[int(dataset.rng.integers(len(_SITES)))]
        rid = 21 + 7 * i + int(dataset.rng.integers(7))
        age = round(float(dataset.rng.uniform(58, 86)), 1)
        who: dict[str, Any] = {
            "rid": rid,
            "ptid": f"{site}_S_{rid:04d}",
            "site": int(site),
            "sex": "FM"[int(dataset.rng.integers(2))],
            "age": age,
            "group": "Patient" if i == 4 else str(dataset.rng.choice(_GROUPS["MCI" if i == 0 else final])),
        }
        start = date(2006, 1, 10) + timedelta(days=int(dataset.rng.integers(3000)))
        spread = float(dataset.rng.normal(0, 0.1))
        if i < 4:
            visits = 2
        elif i == 5:
            visits = 1
        else:
            visits = 1 + int(dataset.rng.integers(max(1, dataset.sessions)))
        for visit in range(min(visits, dataset.sessions)):
            now = "MCI" if i == 0 and visit == 0 and dataset.sessions > 1 else final
            day = start + timedelta(days=365 * visit + int(dataset.rng.integers(-20, 20)))
            head = dataset.person(rid, age + visit, who["sex"], ATROPHY[now] + spread)
            archive.write_visit(i, visit, who, now, day, start, head)
    archive.write_tables()


class _Archive:
    """Write files and collect the rows of the tables as the archive does."""

    def __init__(self, dataset: SyntheticDataset) -> None:
        self.dataset = dataset
        self.merge: list[list[object]] = []
        self.ida: list[list[object]] = []
        self.image = 31_000

    def write_visit(
        self,
        i: int,
        visit: int,
        person: dict[str, Any],
        now: str,
        day: date,
        start: date,
        head: SyntheticHead,
    ) -> None:
        """Write the scans of one visit and its rows of the tables."""
        # The visit to the clinic is on another day than the scan.
        late = 400 if i == 5 else int(self.dataset.rng.integers(0, 60))
        examined = start if visit == 0 and i != 5 else day + timedelta(days=late)
        blank = i == 4 or (i == 3 and visit == 0)
        code = "bl" if visit == 0 else f"m{12 * visit:02d}"
        who = [person["rid"], person["ptid"], code, examined.isoformat(), "ADNI1", "ADNI1", person["site"]]
        sex = {"F": "Female", "M": "Male"}[person["sex"]]
        self.merge.append([*who, "", "" if blank else _DX[now], person["age"], sex])
        raw = ("MP-RAGE", "MPRAGE", "IR-FSPGR")[i % 3 if i % 2 else 0]
        preferred = SCALED if i % 4 == 2 else raw
        source = "Group" if i == 5 or (i == 3 and visit == 0) else "DX"
        if preferred == SCALED:
            self.write_scan(person, raw, day, visit, head)
            self.dataset.planted.drop("another scan of the session is preferred")
        self.write_scan(person, preferred, day, visit, head)
        if i == 4:
            self.dataset.planted.drop("no diagnosis near the scan, and no Group that is one")
        else:
            self.dataset.planted.scans.append(
                {
                    "subject": person["ptid"],
                    "session": day.isoformat(),
                    "diagnosis": now,
                    "label_source": source,
                }
            )
        if visit == 0:
            self.write_irregularities(i, person, day, head)

    def write_irregularities(self, i: int, person: dict[str, Any], day: date, head: SyntheticHead) -> None:
        """Write the planted files beside the preferred one."""
        for who, description, reason in (
            (1, "MP-RAGE REPEAT", "another scan of the session is preferred"),
            (2, "Mask", "mask or segmentation"),
            (2, "3-plane localizer", "localizer or scout"),
            (5, "Axial FLAIR", "not a T1-weighted structural scan"),
        ):
            if who == i:
                sequence = "FLAIR" if "FLAIR" in description else "T1w"
                self.write_scan(person, description, day, 0, head, sequence)
                self.dataset.planted.drop(reason)

    def write_scan(
        self,
        person: dict[str, Any],
        description: str,
        day: date,
        visit: int,
        head: SyntheticHead,
        sequence: str = "T1w",
    ) -> None:
        """Write one file, named and placed as the archive does, and its row of the collection."""
        dataset, rng = self.dataset, self.dataset.rng
        self.image += int(rng.integers(1, 900))
        name = "".join(c if c.isalnum() or c == "-" else "_" for c in description)
        clock = f"{rng.integers(7, 19):02d}_{rng.integers(60):02d}_{rng.integers(60):02d}.0"
        uploaded = (day + timedelta(days=90)).strftime("%Y%m%d") + f"{rng.integers(10**8, 10**9):09d}"
        series = self.image % 30_000 + 9_000
        subject = dataset.root / "ADNI" / person["ptid"]
        folder = subject / name / f"{day.isoformat()}_{clock}" / f"I{self.image}"
        file = f"ADNI_{person['ptid']}_MR_{name}_Br_{uploaded}_S{series}_I{self.image}.nii"
        codes = "PSR" if person["site"] < 50 else "LPS"
        dataset.save_scan(folder / file, render(head, sequence, dataset.shape, scan=visit), codes)
        kind = "Processed" if ";" in description else "Original"
        who = [person["ptid"], person["group"], person["sex"], int(person["age"] + visit)]
        acquired = f"{day.month}/{day.day:02d}/{day.year}"
        self.ida.append([f"I{self.image}", *who, visit + 1, "MRI", description, kind, acquired, "NiFTI", ""])

    def write_tables(self) -> None:
        """Write both tables."""
        for name, header, rows in (
            ("ADNIMERGE.csv", _MERGE, self.merge),
            ("Synthetic_T1_1_05_2026.csv", _IDA, self.ida),
        ):
            write_csv(self.dataset.root / name, [header, *rows], quoting=csv.QUOTE_ALL)
