"""A synthetic ADNI: the archive's folders, file names and tables, with its quirks planted."""

import csv
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from braindino.synthetic.files import Planted, person, save_scan, write_csv
from braindino.synthetic.heads import Head, render

ATROPHY = {"CN": 0.0, "MCI": 0.5, "AD": 1.0}
_DX = {"CN": "CN", "MCI": "MCI", "AD": "Dementia"}
_GROUPS = {"CN": ("CN", "SMC"), "MCI": ("EMCI", "LMCI", "MCI"), "AD": ("AD",)}
_SITES = ("002", "011", "023", "098", "136")
_MERGE = (
    "RID", "PTID", "VISCODE", "EXAMDATE", "COLPROT", "ORIGPROT", "SITE", "DX_bl", "DX", "AGE", "PTGENDER",
)  # fmt: skip
_IDA = (
    "Image Data ID", "Subject", "Group", "Sex", "Age", "Visit", "Modality", "Description", "Type", "Acq Date",
    "Format", "Downloaded",
)  # fmt: skip
SCALED = "MPR; GradWarp; B1 Correction; N3; Scaled"


def write_adni(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write a cohort of CN, MCI and AD in equal parts; the degree of atrophy is the only trace of the label.

    Age, sex, site, orientation, gain and a file's description are drawn without regard to the diagnosis.
    Everybody has 1 to `sessions` sessions, a year apart. Planted, as far as there are people enough:
    a person who converts from MCI to AD, a repeated scan, a processed scan beside the raw one, a mask, a
    localizer, a FLAIR, a visit with blank DX, a visit that no DX is near to, and a person of Group "Patient"
    without any DX.

    Args:
        root: folder to write to; gets `ADNI/`, `ADNIMERGE.csv` and a collection's CSV.
        people: number of people.
        sessions: most sessions of a person.
        shape: voxels along right, anterior, superior; the files are stored turned.
        seed: another seed gives other people; the same seed the same bytes.
    """
    rng = np.random.default_rng([seed, 4])
    writer = _Writer(Path(root), shape, rng)
    for i in range(people):
        final = ("AD", "CN", "MCI")[i % 3]
        site = _SITES[int(rng.integers(len(_SITES)))]
        rid = 21 + 7 * i + int(rng.integers(7))
        age = round(float(rng.uniform(58, 86)), 1)
        who: dict[str, Any] = {
            "rid": rid,
            "ptid": f"{site}_S_{rid:04d}",
            "site": int(site),
            "sex": "FM"[int(rng.integers(2))],
            "age": age,
            "group": "Patient" if i == 4 else str(rng.choice(_GROUPS["MCI" if i == 0 else final])),
        }
        start = date(2006, 1, 10) + timedelta(days=int(rng.integers(3000)))
        spread = float(rng.normal(0, 0.1))
        visits = 2 if i < 4 else 1 if i == 5 else 1 + int(rng.integers(max(1, sessions)))
        for visit in range(min(visits, sessions)):
            now = "MCI" if i == 0 and visit == 0 and sessions > 1 else final
            day = start + timedelta(days=365 * visit + int(rng.integers(-20, 20)))
            head = person(seed, rid, age + visit, who["sex"], ATROPHY[now] + spread)
            writer.visit(i, visit, who, now, day, start, head)
    writer.tables()
    return writer.planted


class _Writer:
    def __init__(self, root: Path, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.root, self.shape, self.rng = root, shape, rng
        self.merge: list[list[object]] = []
        self.ida: list[list[object]] = []
        self.planted = Planted()
        self.image = 31_000

    def visit(
        self, i: int, visit: int, person: dict[str, Any], now: str, day: date, start: date, head: Head
    ) -> None:
        """Write the scans of one visit and its rows of the tables."""
        late = 400 if i == 5 else int(self.rng.integers(0, 60))  # the clinic is not on the scanner's day
        seen = start if visit == 0 and i != 5 else day + timedelta(days=late)
        blank = i == 4 or (i == 3 and visit == 0)
        code = "bl" if visit == 0 else f"m{12 * visit:02d}"
        self.merge.append(
            [person["rid"], person["ptid"], code, seen.isoformat(), "ADNI1", "ADNI1", person["site"], "",
             "" if blank else _DX[now], person["age"], {"F": "Female", "M": "Male"}[person["sex"]]]
        )  # fmt: skip
        raw = ("MP-RAGE", "MPRAGE", "IR-FSPGR")[i % 3 if i % 2 else 0]
        kept = SCALED if i % 4 == 2 else raw
        source = "Group" if i == 5 or (i == 3 and visit == 0) else "DX"
        if kept == SCALED:
            self.scan(person, raw, day, visit, head)
            self.planted.drop("another scan of the session is preferred")
        self.scan(person, kept, day, visit, head)
        if i == 4:
            self.planted.drop("no diagnosis near the scan, and no Group that is one")
        else:
            self.planted.scans.append(
                {
                    "subject": person["ptid"],
                    "session": day.isoformat(),
                    "diagnosis": now,
                    "label_source": source,
                }
            )
        if visit == 0:
            self.quirks(i, person, day, head)

    def quirks(self, i: int, person: dict[str, Any], day: date, head: Head) -> None:
        """Files beside the one that is wanted."""
        for who, description, reason in (
            (1, "MP-RAGE REPEAT", "another scan of the session is preferred"),
            (2, "Mask", "mask or segmentation"),
            (2, "3-plane localizer", "localizer or scout"),
            (5, "Axial FLAIR", "not a T1-weighted structural scan"),
        ):
            if who == i:
                self.scan(person, description, day, 0, head, "FLAIR" if "FLAIR" in description else "T1w")
                self.planted.drop(reason)

    def scan(
        self,
        person: dict[str, Any],
        description: str,
        day: date,
        visit: int,
        head: Head,
        sequence: str = "T1w",
    ) -> None:
        """Write one file, named and placed as the archive does, and its row of the collection."""
        self.image += int(self.rng.integers(1, 900))
        name = "".join(c if c.isalnum() or c == "-" else "_" for c in description)
        clock = f"{self.rng.integers(7, 19):02d}_{self.rng.integers(60):02d}_{self.rng.integers(60):02d}.0"
        uploaded = (day + timedelta(days=90)).strftime("%Y%m%d") + f"{self.rng.integers(10**8, 10**9):09d}"
        series = self.image % 30_000 + 9_000
        folder = self.root / "ADNI" / person["ptid"] / name / f"{day.isoformat()}_{clock}" / f"I{self.image}"
        file = f"ADNI_{person['ptid']}_MR_{name}_Br_{uploaded}_S{series}_I{self.image}.nii"
        codes = "PSR" if person["site"] < 50 else "LPS"
        save_scan(self.rng, folder / file, render(head, sequence, self.shape, scan=visit), codes)
        kind = "Processed" if ";" in description else "Original"
        self.ida.append(
            [f"I{self.image}", person["ptid"], person["group"], person["sex"], int(person["age"] + visit),
             visit + 1, "MRI", description, kind, f"{day.month}/{day.day:02d}/{day.year}", "NiFTI", ""]
        )  # fmt: skip

    def tables(self) -> None:
        """Write both tables."""
        for name, header, rows in (
            ("ADNIMERGE.csv", _MERGE, self.merge),
            ("Synthetic_T1_1_05_2026.csv", _IDA, self.ida),
        ):
            write_csv(self.root / name, [header, *rows], quoting=csv.QUOTE_ALL)
