"""ADNI in the layout of the LONI archive: Alzheimer's disease, MCI or normal from T1w."""

import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

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

# Sort key of the scans of a session: whether it is a repeat, whether it is uncorrected, number of the image.
_Preference = tuple[bool, bool, int]
_Session = tuple[str, str]  # person, day
_NO_LABEL = "no diagnosis near the scan, and no Group that is one"


class ArchiveImage(NamedTuple):
    """An image of the archive.

    Attributes:
        volume: the scan.
        subject: the person, `<site>_S_<number>`.
        number: number of the image.
    """

    volume: FoundVolume
    subject: str
    number: int


class ADNI(ScanDataModule):
    """Alzheimer's Disease Neuroimaging Initiative: CN 0, MCI 1, AD 2 per session.

    Sessions are grouped by person. The label of a scan is the visit's diagnosis (`DX` of ADNIMERGE, or
    `DIAGNOSIS` of DXSUM) nearest to it, within `max_days`; else the enrolment `Group` of the collection's
    CSV. The column `label_source` contains the source. One scan per session is taken: the archive's corrected
    one (`MPR...GradWarp__B1_Correction__N3__Scaled`) before a raw MPRAGE or IR-SPGR, repeats last. Tables are
    recognised by their columns, in `root` or one level below. Scans are NIfTI files, or DICOM series in
    folders of the same names.

    Args:
        root: folder that holds the archive's folders and its tables, or a manifest.
        store: folder of prepared scans.
        max_days: maximum number of days between the scan and a diagnosis.
        use_group: whether Group is the label where there is no diagnosis within `max_days`.
        dicom: folder that DICOM series are converted into by dcm2niix, with `series.csv`, which lists the
            source of each volume; without it they are dropped.
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
        """Return the manifest of the archive's folder; see the class for the rules."""
        rows = ManifestBuilder(self.name)
        images = self._drop_mixed_patients(self._images(root, rows), rows)
        if not images:
            raise no_scan_error(
                root,
                self.name,
                "ADNI_<site>_S_<number>_MR_<description>_..._I<image>.nii (`braindino index`: or .dcm)",
            )
        tables = Tables.find(root)
        for (subject, day), scans in sorted(_sessions(images, tables, rows).items()):
            (_, best), *rest = sorted(scans, key=lambda scan: (scan[0], scan[1].volume.path))
            for _, image in rest:
                rows.drop(image.volume.path, subject, "another scan of the session is preferred")
            label, source = self._label(tables, subject, day, best.number)
            if not label:
                rows.drop(best.volume.path, subject, _NO_LABEL)
                continue
            rows.keep(
                best.volume.path,
                subject,
                "T1w",
                session=day,
                site=subject[:3],
                sex=tables.sex(subject, best.number),
                age=tables.age(subject, day, best.number),
                diagnosis=label,
                label_source=source,
            )
        return rows.build()

    def _images(self, root: Path, rows: ManifestBuilder) -> list[ArchiveImage]:
        """Return the images under `root`; files that are not named as the archive does are dropped."""
        images = []
        for volume in find_volumes(root, rows, self.dicom, _folder_exclusion_reason):
            path = volume.path
            number = _image_number(volume)
            person = _PTID.search(path.name) or _PTID.search(str(volume.inside))
            if number and person:
                images.append(ArchiveImage(volume, person.group(1), number))
            else:
                rows.drop(path, "", "not named as the archive does (<site>_S_<number> ... _I<image>.nii)")
        return images

    def _drop_mixed_patients(self, images: list[ArchiveImage], rows: ManifestBuilder) -> list[ArchiveImage]:
        """Return the images, DICOM series only if PatientID agrees with the person in the path.

        The archive writes the person into PatientID: if it is another person of the archive, that one is
        taken. Images of a person who has several patients are dropped, as the labels belong to one of them.
        """
        if self.dicom is None or not any(image.volume.series for image in images):
            return images
        digests = PatientDigests(self.dicom)
        person_of = {digests.of_patient((image.subject, "")): image.subject for image in images}
        patients: dict[str, set[str]] = {}
        corrected = []
        for image in images:
            patient = image.volume.series.patient if image.volume.series else ""
            subject = person_of.get(patient, image.subject)
            if patient:
                patients.setdefault(subject, set()).add(patient)
            corrected.append(image._replace(subject=subject))
        consistent = []
        for image in corrected:
            if image.volume.series and len(patients.get(image.subject, ())) > 1:
                reason = "the folders of this person hold series of several PatientIDs"
                rows.drop(image.volume.path, image.subject, reason)
            else:
                consistent.append(image)
        return consistent

    def _label(self, tables: Tables, subject: str, day: str, image: int) -> tuple[str, str]:
        """Return the class of a scan, or `""`, and the column or table it comes from."""
        label = tables.diagnosis(subject, day, self.max_days)
        if label:
            return label, tables.visit_source
        group = tables.group(subject, image) if self.use_group else ""
        return CLASS.get(group.lower(), ""), "Group"


def _sessions(
    images: list[ArchiveImage], tables: Tables, rows: ManifestBuilder
) -> dict[_Session, list[tuple[_Preference, ArchiveImage]]]:
    """Return the structural scans of each session with their preference; drop other images."""
    sessions: dict[_Session, list[tuple[_Preference, ArchiveImage]]] = {}
    for image in images:
        path, series = image.volume.path, image.volume.series
        description = _description(path, image.subject) or (series.description if series else "")
        day = _day(path) or tables.day(image.number)
        reason = series_exclusion_reason(description)
        if not reason and not day:
            reason = "no acquisition date in its folder or in a table"
        if reason:
            rows.drop(path, image.subject, reason)
            continue
        preference = (bool(_REPEAT.search(description)), not _SCALED.search(description), image.number)
        sessions.setdefault((image.subject, day), []).append((preference, image))
    return sessions


def _image_number(volume: FoundVolume) -> int:
    """Return the number of an image by its name, of a series by a slice's or the folder's, or 0."""
    names = [volume.path.name]
    if volume.series:
        folder = Path(volume.series.source)
        names = sorted(file.name for file in folder.iterdir())
        if whole := _FOLDER.fullmatch(folder.name):
            names.append(f"_{whole.group()}.dcm")
    return next((int(match.group(1)) for name in names if (match := _IMAGE.search(name))), 0)


def _folder_exclusion_reason(folder: Path) -> str:
    """Return why a series is not converted, by the names of its folders, or `""`."""
    description = _description(folder / "slice", "")
    return series_exclusion_reason(description) if description else ""


def _description(path: Path, subject: str) -> str:
    """Return the series description: the folder above the date, else part of the file's name."""
    for part, above in zip(path.parts[1:], path.parts[:-1], strict=True):
        if _DATE.match(part):
            return above
    return path.name.partition(f"{subject}_MR_")[2].partition("_Br_")[0]


def series_exclusion_reason(description: str) -> str:
    """Return why a series is not a structural T1w scan, by its description, or `""`."""
    if _MASK.search(description):
        return "mask or segmentation"
    if _LOCALIZER.search(description):
        return "localizer or scout"
    if not _STRUCTURAL.search(description) or _OTHER.search(description):
        return "not a T1-weighted structural scan"
    return ""


def _day(path: Path) -> str:
    """Return the acquisition date in the names of a path's folders, or `""`."""
    for part in path.parts:
        match = _DATE.match(part)
        if match:
            return match.group(1)
    return ""
