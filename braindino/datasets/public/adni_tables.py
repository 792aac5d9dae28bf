"""Tables of ADNI's archive: diagnoses of visits, enrolment groups, sex, age, image dates."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from braindino.datasets.cells import is_missing, parse_age
from braindino.datasets.tables import Aliases, read_table
from braindino.errors import TableError

CODES = {
    "CN": ("cn", "smc", "nl", "normal"),
    "MCI": ("mci", "emci", "lmci"),
    "AD": ("ad", "dementia"),
}
CLASS = {text: name for name, texts in CODES.items() for text in texts}
_DXSUM = {"1": "CN", "2": "MCI", "3": "AD", "1.0": "CN", "2.0": "MCI", "3.0": "AD"}


class Tables:
    """Look up the archive's tables by person, day and image; absent tables give blanks.

    Attributes:
        visit_source: the origin of diagnoses, `DX` or `DXSUM`; `""` if there is no table of visits.
    """

    # RID, the last number of a PTID, identifies a person too; some tables have only RID.
    _VISITS: ClassVar[Aliases] = {"subject": ("PTID", "RID"), "day": ("EXAMDATE",)}
    _IMAGES: ClassVar[Aliases] = {
        "subject": ("Subject", "Subject ID"),
        "image": ("Image Data ID", "Image ID"),
    }

    _VISITS_OPTIONAL: ClassVar[Aliases] = {
        "dx": ("DX",),
        "code": ("DIAGNOSIS",),
        "visit": ("VISCODE",),
        "age": ("AGE",),
        "sex": ("PTGENDER",),
    }
    _IMAGES_OPTIONAL: ClassVar[Aliases] = {
        "group": ("Group", "Research Group"),
        "sex": ("Sex",),
        "age": ("Age",),
        "day": ("Acq Date", "Study Date"),
    }

    def __init__(self, visits: pd.DataFrame, images: pd.DataFrame, visit_source: str) -> None:
        """Group the tables' rows by person and image; `find` reads them.

        Args:
            visits: one row per visit: `subject`, `day` (timestamp), `label`, and others if there are any.
            images: one row per image: `subject`, `image` (number), and others if there are any.
            visit_source: the origin of diagnoses, `DX` or `DXSUM`.
        """
        self.visit_source = visit_source
        self._visits = dict(iter(visits.groupby(visits["subject"].map(_number))))
        self._images = images.drop_duplicates("image").set_index("image").to_dict("index")
        self._people = images.drop_duplicates("subject").set_index("subject").to_dict("index")

    @classmethod
    def find(cls, root: Path) -> "Tables":
        """Read the tables under `root`: ADNIMERGE, else DXSUM, and all tables of collections.

        Raises:
            TableError: there is neither a table of visits nor one of images, or one cannot be read.
        """
        visits, images, sources = [], [], []
        for csv in sorted([*root.glob("*.csv"), *root.glob("*/*.csv")]):
            header = _header(csv)
            if "EXAMDATE" in header and header & {"PTID", "RID"} and header & {"DX", "DIAGNOSIS"}:
                visits.append(read_table(csv, cls._VISITS, cls._VISITS_OPTIONAL))
                sources.append("DX" if "DX" in header else "DXSUM")
            elif header & set(cls._IMAGES["image"]):
                images.append(read_table(csv, cls._IMAGES, cls._IMAGES_OPTIONAL))
        if not visits and not images:
            raise TableError(
                f"{root}: no table with the diagnosis.\nPut ADNIMERGE.csv (columns PTID, EXAMDATE, DX) "
                "or the CSV of the image collection (Image Data ID, Subject, Group) beside the scans."
            )
        best = sources.index("DX") if "DX" in sources else 0
        visit = _visits(visits[best] if visits else pd.DataFrame(columns=["subject", "day", "dx", "age"]))
        image = pd.concat(images) if images else pd.DataFrame(columns=["subject", "image"])
        image["image"] = image["image"].str.extract(r"(\d+)$")[0].astype("Int64")
        return cls(visit, image, sources[best] if sources else "")

    def diagnosis(self, subject: str, day: str, within: int) -> str:
        """Return the class of the nearest diagnosis that is at most `within` days away, or `""`."""
        visits = self._visits.get(_number(subject))
        if visits is None:
            return ""
        known = visits[visits["label"] != ""]
        away = (known["day"] - pd.Timestamp(day)).abs().dt.days.to_numpy(float)
        if not len(away) or np.nanmin(away) > within:
            return ""
        return str(known["label"].iloc[int(np.nanargmin(away))])

    def group(self, subject: str, image: int) -> str:
        """Return the enrolment group of the image's person, or `""`."""
        return str(self._row(subject, image).get("group", ""))

    def sex(self, subject: str, image: int) -> str:
        """Return the sex as the table of visits has it, else that of images, or `""`."""
        visits = self._visits.get(_number(subject))
        if visits is not None and "sex" in visits and visits["sex"].iloc[0]:
            return str(visits["sex"].iloc[0])
        return str(self._row(subject, image).get("sex", ""))

    def age(self, subject: str, day: str, image: int) -> str | float:
        """Return the age at the scan [years], or a cell of a table that is no age.

        ADNIMERGE has the age at baseline, to which the days since then are added; the age in a collection's
        table is that at the scan, rounded.
        """
        visits = self._visits.get(_number(subject))
        if visits is not None and "age" in visits and not is_missing(visits["age"].iloc[0]):
            baseline = visits[visits["visit"] == "bl"] if "visit" in visits else visits[:0]
            start = baseline["day"].iloc[0] if len(baseline) else visits["day"].min()
            age, _ = parse_age(visits["age"].iloc[0])
            days = (pd.Timestamp(day) - start).days
            if np.isnan(age):
                return str(visits["age"].iloc[0])  # the manifest notes why it cannot be read
            return float(round(age + days / 365.25, 2))
        return str(self._images.get(image, {}).get("age", ""))

    def day(self, image: int) -> str:
        """Return the acquisition date of an image (the archive's tables have M/D/YYYY), or `""`."""
        text = str(self._images.get(image, {}).get("day", ""))
        day = pd.to_datetime(text, errors="coerce", format="%m/%d/%Y")
        return "" if pd.isna(day) else day.date().isoformat()

    def _row(self, subject: str, image: int) -> dict[Any, Any]:
        """Return the cells of the image, else those of an image of its person."""
        return self._images.get(image) or self._people.get(subject, {})


def _number(subject: str) -> str:
    """Return the RID of a person from a PTID or RID."""
    return subject.rpartition("_")[2].removesuffix(".0").lstrip("0")


def _header(csv: Path) -> set[str]:
    with csv.open("rb") as file:
        first = file.readline().decode("utf-8-sig", "replace")
    return {name.strip(' "\r\n') for name in first.split(",")}


def _visits(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a date, with the class of the diagnosis, or `""`, as `label`."""
    if "dx" in table:  # older tables have "MCI to Dementia"
        label = table["dx"].map(lambda text: CLASS.get(text.lower().rpartition(" to ")[2], ""))
    else:
        label = table["code"].map(lambda code: _DXSUM.get(code, ""))
    day = pd.to_datetime(table["day"], errors="coerce", format="mixed")
    return table.assign(label=label, day=day).dropna(subset=["day"])
