"""ADNI as the LONI archive gives it: cognitively normal, mild impairment or Alzheimer's disease from T1w."""

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import Manifest, ManifestBuilder, is_missing
from braindino.datasets.tables import Aliases, TableError, read_table
from braindino.datasets.walk import find_scans, nothing_found

_IMAGE = re.compile(r"_I(\d+)\.(?:nii|nii\.gz)$", re.IGNORECASE)
_PTID = re.compile(r"(?<!\d)(\d{3}_S_\d{4,5})(?!\d)")
_DATE = re.compile(r"^(\d{4}-\d{2}-\d{2})_\d{2}_\d{2}_\d{2}\.\d+$")
_MASK = re.compile(r"mask|segment|label|_seg_", re.IGNORECASE)
_LOCALIZER = re.compile(r"locali[sz]er|scout|survey|plane_loc|calibration|b1[-_]cal", re.IGNORECASE)
_STRUCTURAL = re.compile(r"mp-?_?rage|_MPR|^MPR|^MT1|ir-?_?f?spgr|sag.*spgr|accelerated_sag", re.IGNORECASE)
_OTHER = re.compile(r"flair|t2|pd_|_pd|dti|fmri|bold|asl|gre_|swi|hippocamp", re.IGNORECASE)
_SCALED = re.compile(r"MPR.*GradWarp.*B1_Correction.*N3.*Scaled", re.IGNORECASE)
_REPEAT = re.compile(r"repeat|_2$|_2_|-R(?![A-Za-z])", re.IGNORECASE)

CODES = {
    "CN": ("cn", "smc", "nl", "normal"),
    "MCI": ("mci", "emci", "lmci"),
    "AD": ("ad", "dementia"),
}
_CLASS = {text: name for name, texts in CODES.items() for text in texts}
_DXSUM = {"1": "CN", "2": "MCI", "3": "AD", "1.0": "CN", "2.0": "MCI", "3.0": "AD"}
_NO_LABEL = "no diagnosis near the scan, and no Group that is one"


class ADNI(ScanDataModule):
    """Alzheimer's Disease Neuroimaging Initiative: CN 0, MCI 1, AD 2 per session, grouped by person.

    The label of a scan is the visit's diagnosis (`DX` of ADNIMERGE, or `DIAGNOSIS` of DXSUM) nearest to it,
    within `max_days`; else the enrolment `Group` of the collection's CSV. The column `label_source` says
    which. One scan per session: the archive's corrected one (`MPR...GradWarp__B1_Correction__N3__Scaled`)
    before a raw MPRAGE or IR-SPGR, repeats last. Tables are found by their columns, in `root` or one level
    below.

    Args:
        root: folder that holds the archive's folders and its tables, or a manifest.
        store: folder of prepared scans.
        max_days: how far a diagnosis may lie from the scan.
        use_group: whether Group may stand in where no diagnosis is near.
        **options: see `ScanDataModule`.
    """

    name = "adni"
    target: ClassVar[tuple[str, ...]] = ("diagnosis",)
    classes: ClassVar[tuple[str, ...]] = ("CN", "MCI", "AD")

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        max_days: int = 180,
        use_group: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.max_days = max_days
        self.use_group = use_group

    def index(self, root: Path) -> Manifest:
        """Manifest of the archive's folder; see the class for the rules."""
        rows = ManifestBuilder(self.name)
        images = []
        for path in find_scans(root, rows):
            found, person = (
                _IMAGE.search(path.name),
                _PTID.search(path.name) or _PTID.search(str(path.parent)),
            )
            if found and person:
                images.append((path, person.group(1), int(found.group(1))))
            else:
                rows.drop(path, "", "not named as the archive does (<site>_S_<number> ... _I<image>.nii)")
        if not images:
            raise nothing_found(root, self.name, "ADNI_<site>_S_<number>_MR_<description>_..._I<image>.nii")
        tables = _Tables.find(root)
        sessions: dict[tuple[str, str], list[tuple[tuple[bool, bool, int], Path, int]]] = {}
        for path, subject, image in images:
            description = _description(path, subject)
            day = _day(path) or tables.day(image)
            reason = unwanted(description) or (
                "" if day else "no acquisition date in its folder or in a table"
            )
            if reason:
                rows.drop(path, subject, reason)
                continue
            order = (bool(_REPEAT.search(description)), not _SCALED.search(description), image)
            sessions.setdefault((subject, day), []).append((order, path, image))
        for (subject, day), scans in sorted(sessions.items()):
            (_, path, image), *others = sorted(scans)
            for _, other, _ in others:
                rows.drop(other, subject, "another scan of the session is preferred")
            label, source = self._label(tables, subject, day, image)
            if not label:
                rows.drop(path, subject, _NO_LABEL)
                continue
            rows.keep(
                path, subject, "T1w", session=day, site=subject[:3], sex=tables.sex(subject, image),
                age=tables.age(subject, day, image), diagnosis=label, label_source=source,
            )  # fmt: skip
        return rows.build()

    def _label(self, tables: "_Tables", subject: str, day: str, image: int) -> tuple[str, str]:
        label = tables.diagnosis(subject, day, self.max_days)
        if label:
            return label, tables.visit_source
        group = tables.group(subject, image) if self.use_group else ""
        return _CLASS.get(group.lower(), ""), "Group"


class _Tables:
    """What the archive's tables say about a person, a day, an image. Absent tables know nothing."""

    _VISITS: ClassVar[Aliases] = {"subject": ("PTID",), "day": ("EXAMDATE",)}
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
        self.visit_source = visit_source
        self._visits = dict(iter(visits.groupby("subject")))
        self._images = images.drop_duplicates("image").set_index("image").to_dict("index")
        self._people = images.drop_duplicates("subject").set_index("subject").to_dict("index")

    @classmethod
    def find(cls, root: Path) -> "_Tables":
        """Read the tables under `root`; ADNIMERGE comes before DXSUM, several collections are joined."""
        visits, images, sources = [], [], []
        for csv in sorted([*root.glob("*.csv"), *root.glob("*/*.csv")]):
            header = _header(csv)
            if {"PTID", "EXAMDATE"} <= header and header & {"DX", "DIAGNOSIS"}:
                visits.append(read_table(csv, cls._VISITS, cls._VISITS_OPTIONAL))
                sources.append("DX" if "DX" in header else "DXSUM")
            elif header & set(cls._IMAGES["image"]):
                images.append(read_table(csv, cls._IMAGES, cls._IMAGES_OPTIONAL))
        if not visits and not images:
            raise TableError(
                f"{root}: no table that says the diagnosis.\nPut ADNIMERGE.csv (columns PTID, EXAMDATE, DX) "
                "or the CSV of the image collection (Image Data ID, Subject, Group) beside the scans."
            )
        best = sources.index("DX") if "DX" in sources else 0
        visit = _visits(visits[best] if visits else pd.DataFrame(columns=["subject", "day", "dx", "age"]))
        image = pd.concat(images) if images else pd.DataFrame(columns=["subject", "image"])
        image["image"] = image["image"].str.extract(r"(\d+)$")[0].astype("Int64")
        return cls(visit, image, sources[best] if sources else "")

    def diagnosis(self, subject: str, day: str, within: int) -> str:
        """Class of the nearest diagnosis that is not blank, at most `within` days away, or nothing."""
        visits = self._visits.get(subject)
        if visits is None:
            return ""
        known = visits[visits["label"] != ""]
        away = (known["day"] - pd.Timestamp(day)).abs().dt.days.to_numpy(float)
        if not len(away) or np.nanmin(away) > within:
            return ""
        return str(known["label"].iloc[int(np.nanargmin(away))])

    def group(self, subject: str, image: int) -> str:
        """Enrolment group of the image's person."""
        return str(self._row(subject, image).get("group", ""))

    def sex(self, subject: str, image: int) -> str:
        """Sex as some table has it."""
        visits = self._visits.get(subject)
        if visits is not None and "sex" in visits and visits["sex"].iloc[0]:
            return str(visits["sex"].iloc[0])
        return str(self._row(subject, image).get("sex", ""))

    def age(self, subject: str, day: str, image: int) -> str | float:
        """Years at the scan. ADNIMERGE has the age at baseline only; the collection's is rounded."""
        visits = self._visits.get(subject)
        if visits is not None and "age" in visits and not is_missing(visits["age"].iloc[0]):
            baseline = visits[visits["visit"] == "bl"] if "visit" in visits else visits[:0]
            start = baseline["day"].iloc[0] if len(baseline) else visits["day"].min()
            return round(float(visits["age"].iloc[0]) + (pd.Timestamp(day) - start).days / 365.25, 2)
        return str(self._images.get(image, {}).get("age", ""))

    def day(self, image: int) -> str:
        """Acquisition date of an image (the archive's tables write M/D/YYYY)."""
        text = str(self._images.get(image, {}).get("day", ""))
        day = pd.to_datetime(text, errors="coerce", format="%m/%d/%Y")
        return "" if pd.isna(day) else day.date().isoformat()

    def _row(self, subject: str, image: int) -> dict[Any, Any]:
        return self._images.get(image) or self._people.get(subject, {})


def _header(csv: Path) -> set[str]:
    with csv.open("rb") as file:
        first = file.readline().decode("utf-8-sig", "replace")
    return {name.strip(' "\r\n') for name in first.split(",")}


def _visits(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with a date, and the class of their diagnosis as `label` (blank when there is none)."""
    if "dx" in table:  # older tables write "MCI to Dementia"
        label = table["dx"].map(lambda text: _CLASS.get(text.lower().rpartition(" to ")[2], ""))
    else:
        label = table["code"].map(lambda code: _DXSUM.get(code, ""))
    day = pd.to_datetime(table["day"], errors="coerce", format="mixed")
    return table.assign(label=label, day=day).dropna(subset=["day"])


def _description(path: Path, subject: str) -> str:
    """Series description: the folder above the date, else the part of the file name that holds it."""
    for part, above in zip(path.parts[1:], path.parts[:-1], strict=True):
        if _DATE.match(part):
            return above
    return path.name.partition(f"{subject}_MR_")[2].partition("_Br_")[0]


def unwanted(description: str) -> str:
    """Why a series is not for us, or nothing."""
    if _MASK.search(description):
        return "mask or segmentation"
    if _LOCALIZER.search(description):
        return "localizer or scout"
    if not _STRUCTURAL.search(description) or _OTHER.search(description):
        return "not a T1-weighted structural scan"
    return ""


def _day(path: Path) -> str:
    """Acquisition date from the folders' names."""
    for part in path.parts:
        match = _DATE.match(part)
        if match:
            return match.group(1)
    return ""
