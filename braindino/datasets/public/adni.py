"""ADNI as the LONI archive gives it: cognitively normal, mild impairment or Alzheimer's disease from T1w."""

import re
from pathlib import Path
from typing import Any, ClassVar

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import FoundVolume, find_volumes, no_scan_error
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.public.adni_tables import CLASS, Tables
from braindino.scans.dicom.headers import PatientDigests

_IMAGE = re.compile(r"_I(\d+)\.(?:nii|nii\.gz|dcm)$", re.IGNORECASE)
_FOLDER = re.compile(r"I(\d+)", re.IGNORECASE)
_PTID = re.compile(r"(?<!\d)(\d{3}_S_\d{4,5})(?!\d)")
_DATE = re.compile(r"^(\d{4}-\d{2}-\d{2})_\d{2}_\d{2}_\d{2}\.\d+$")
_MASK = re.compile(r"mask|segment|label|_seg_", re.IGNORECASE)
_LOCALIZER = re.compile(r"locali[sz]er|scout|survey|plane_loc|calibration|b1[-_]cal", re.IGNORECASE)
_STRUCTURAL = re.compile(r"mp-?_?rage|_MPR|^MPR|^MT1|ir-?_?f?spgr|sag.*spgr|accelerated_sag", re.IGNORECASE)
_OTHER = re.compile(r"flair|(?<![a-z])t2|pd_|_pd|dti|fmri|bold|asl|gre_|swi|hippocamp", re.IGNORECASE)
_SCALED = re.compile(r"MPR.*GradWarp.*B1_Correction.*N3.*Scaled", re.IGNORECASE)
_REPEAT = re.compile(r"repeat|_2$|_2_|-R(?![A-Za-z])", re.IGNORECASE)

_Image = tuple[FoundVolume, str, int]  # scan, person, number of the image
_NO_LABEL = "no diagnosis near the scan, and no Group that is one"


class ADNI(ScanDataModule):
    """Alzheimer's Disease Neuroimaging Initiative: CN 0, MCI 1, AD 2 per session, grouped by person.

    The label of a scan is the visit's diagnosis (`DX` of ADNIMERGE, or `DIAGNOSIS` of DXSUM) nearest to it,
    within `max_days`; else the enrolment `Group` of the collection's CSV. The column `label_source` says
    which. One scan per session: the archive's corrected one (`MPR...GradWarp__B1_Correction__N3__Scaled`)
    before a raw MPRAGE or IR-SPGR, repeats last. Tables are found by their columns, in `root` or one level
    below. Scans are NIfTI files, or DICOM series in folders of the same names.

    Args:
        root: folder that holds the archive's folders and its tables, or a manifest.
        store: folder of prepared scans.
        max_days: how far a diagnosis may lie from the scan.
        use_group: whether Group may stand in where no diagnosis is near.
        dicom: folder that DICOM series are converted into by dcm2niix, with `series.csv`, which tells what
            came from where; without it they are left out.
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
        dicom: Path | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.dicom = None if dicom is None else Path(dicom).absolute()
        self.max_days = max_days
        self.use_group = use_group

    def index(self, root: Path) -> Manifest:
        """Manifest of the archive's folder; see the class for the rules."""
        rows = ManifestBuilder(self.name)
        images = []
        for found in find_volumes(root, rows, self.dicom, _series_unwanted):
            image, person = _image(found), _PTID.search(found.path.name) or _PTID.search(str(found.inside))
            if image and person:
                images.append((found, person.group(1), image))
            else:
                rows.drop(
                    found.path, "", "not named as the archive does (<site>_S_<number> ... _I<image>.nii)"
                )
        images = self._of_their_patients(images, rows)
        if not images:
            raise no_scan_error(
                root,
                self.name,
                "ADNI_<site>_S_<number>_MR_<description>_..._I<image>.nii (`braindino index`: or .dcm)",
            )
        tables = Tables.find(root)
        sessions: dict[tuple[str, str], list[tuple[tuple[bool, bool, int], Path, int]]] = {}
        for found, subject, image in images:
            path = found.path
            description = _description(path, subject) or (found.series.description if found.series else "")
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

    def _of_their_patients(self, images: list[_Image], rows: ManifestBuilder) -> list[_Image]:
        """Return the images, of DICOM those whose PatientID does not contradict the person in the path.

        The archive writes the person into PatientID: where this is another one of the archive, it is the
        person. Images of a person who has several patients are dropped: the labels are of one of them.
        """
        if self.dicom is None or not any(found.series for found, _, _ in images):
            return images
        digests = PatientDigests(self.dicom)
        archive = {digests.of_patient((person, "")): person for _, person, _ in images}
        patients: dict[str, set[str]] = {}
        corrected = []
        for found, person, image in images:
            patient = found.series.patient if found.series else ""
            named = archive.get(patient, person)
            if patient:
                patients.setdefault(named, set()).add(patient)
            corrected.append((found, named, image))
        good = []
        for found, person, image in corrected:
            if found.series and len(patients.get(person, ())) > 1:
                rows.drop(found.path, person, "the folders of this person hold series of several PatientIDs")
            else:
                good.append((found, person, image))
        return good

    def _label(self, tables: Tables, subject: str, day: str, image: int) -> tuple[str, str]:
        label = tables.diagnosis(subject, day, self.max_days)
        if label:
            return label, tables.visit_source
        group = tables.group(subject, image) if self.use_group else ""
        return CLASS.get(group.lower(), ""), "Group"


def _image(found: FoundVolume) -> int:
    """Number of an image, by its file's name; of a series by a slice's, else by its folder. 0: none there."""
    names = [found.path.name]
    if found.series:
        folder = Path(found.series.source)
        names = sorted(file.name for file in folder.iterdir())
        if whole := _FOLDER.fullmatch(folder.name):
            names.append(f"_{whole.group()}.dcm")
    return next((int(match.group(1)) for name in names if (match := _IMAGE.search(name))), 0)


def _series_unwanted(folder: Path) -> str:
    """Why a series need not even be converted, by the folders it lies in, or nothing."""
    description = _description(folder / "slice", "")
    return unwanted(description) if description else ""


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
