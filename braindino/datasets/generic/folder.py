"""Any folder of scans, for pretraining: all scans but masks, derivatives and damaged files."""

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from braindino.datasets.bids_ignore import derivatives_at
from braindino.datasets.brats_names import person_of_brats
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import (
    MASK_LIKE,
    FoundVolume,
    find_volumes,
    naming_folders,
    no_scan_error,
    stem,
)
from braindino.datasets.generic.patients import patient_note, people_of
from braindino.datasets.generic.visits import split_visit, visits_of_one_person, without_sequence
from braindino.datasets.manifest import NOTE, Manifest, ManifestBuilder
from braindino.datasets.sequences import (
    complex_part,
    is_localizer,
    names_sequence,
    recognise,
)
from braindino.errors import ScanError
from braindino.scans.reading import read_header

_BIDS = re.compile(r"(?<![A-Za-z0-9])sub-([A-Za-z0-9]+)")
# Endings of file names that mean a mask. In the middle of a name, such as `tumour`, they describe the scan.
_MASK_ENDS = re.compile(
    r"(^|[-_. ])(rois?|tumou?r|wmh|gt|ground[-_ ]?truth|ribbon|aparc\S*|aseg\S*)$", re.IGNORECASE
)
_TEMPLATE = re.compile(r"fsaverage\w*|[lr]h\.EC_average|cvs_avg35\w*")
_DATE = re.compile(r"(19|20)\d\d([-_.]?)(0\d|1[0-2])\2[0-3]\d([-_T ].*)?")
_log = logging.getLogger(__name__)
MIN_SLICES = 5  # of a series; single slices are allowed, as some collections consist of them
_SESSION = re.compile(r"(?<![A-Za-z0-9])ses-([A-Za-z0-9]+)")
_MASKS = re.compile(r"(labels?|masks?|seg(mentation)?s?|lesions?)(Tr|Ts)?$", re.IGNORECASE)  # folders


class Folder(ScanDataModule):
    """Scans in any arrangement of folders, without labels.

    The dataset's name is the folder's. The person of a DICOM series is its patient (PatientID and issuer, see
    `people_of`). For series without a PatientID and for other files, the person is read from the path: a BIDS
    subject (`sub-...`) if there is one, with the folders above it (`siteA/sub-01` is not `siteB/sub-01`);
    else the topmost folder; else the file's name without its sequence (`p1_T1` and `p1_FLAIR` are of p1).
    Folders such as `images`, `train`, `raw` or `ses-1`, dates, and folders that contain all scans are no
    persons. Names that differ only in a visit at their end (`p1_baseline`, `p1_m12`) are one person, and so
    are visits of BraTS cases. If people are named differently, edit the manifest's column `group`.

    Two folders of the same name may have people of the same names. Scans of both can be in one store only if
    the option `dataset` is given for them: one name if the people are the same, two names if they are not.

    Args:
        root: the folder, or a manifest.
        store: folder of prepared scans.
        derivatives: whether to take scans in folders called `derivatives`, or in datasets of derivatives (by
            their `dataset_description.json`).
        dicom: folder that DICOM series are converted into by dcm2niix, with `series.csv`, which lists the
            source of each volume; without it they are dropped.
        same_people: whether a BIDS subject is one person even if it is in several folders.
        dataset: name of the dataset, the first part of persons' keys; by default that of the folder.
        **options: see `ScanDataModule`.
    """

    name = "folder"

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        derivatives: bool = False,
        dicom: Path | str | None = None,
        same_people: bool = False,
        dataset: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.dataset = dataset
        self.dicom = None if dicom is None else Path(dicom).absolute()
        self.derivatives, self.same_people = derivatives, same_people

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the scans under `root`."""
        name, origin = self.dataset or root.absolute().name or "folder", None if self.dataset else root
        rows = ManifestBuilder(name, origin)
        volumes: list[FoundVolume] = []
        for volume in find_volumes(root, rows, self.dicom):
            reason = self._exclusion_reason(volume, root)
            if reason:
                rows.drop(volume.path, "", reason)
            else:
                volumes.append(volume)
        if not volumes:
            raise no_scan_error(root, self.name, "*.nii, *.nii.gz, *.mgz, *.hdr with *.img, DICOM", rows)
        names = _subjects(volumes, self.same_people, root)
        # The label of a BIDS subject is never split into person and visit, even one such as `v1`.
        labels = {
            name for name, volume in zip(names, volumes, strict=True) if _BIDS.search(str(volume.inside))
        }
        visits = _visits(names, labels)
        people = people_of(volumes, [visits.get(name, (name, ""))[0] for name in names])
        for volume, name, subject in zip(volumes, names, people, strict=True):
            match = _SESSION.search(str(volume.inside))
            session = match.group(1) if match else visits.get(name, ("", ""))[1]
            sequence, reason = recognise(_sequence_name(volume))
            reasons = [f"modality: {reason}" if reason else "", patient_note(volume)]
            notes = {NOTE: "; ".join(filter(None, reasons))} if any(reasons) else {}
            rows.keep(
                volume.path, subject, sequence, group=person_of_brats(subject), session=session, **notes
            )
        return rows.build()

    def _exclusion_reason(self, volume: FoundVolume, root: Path | None = None) -> str:
        """Return why a scan is excluded, or `""`; DICOM series are never masks or derivatives."""
        folders = volume.inside.parts[:-1]
        if volume.series is None:
            name = stem(volume.path)
            is_mask = MASK_LIKE.search(name) or _MASK_ENDS.search(name)
            if is_mask or any(_MASKS.match(folder) for folder in folders):
                return "mask or segmentation, by its name"
            if not self.derivatives and derivatives_at(folders, root or Path(self.root)) is not None:
                return "derivative"
            if any(_TEMPLATE.fullmatch(name) for name in folders):
                return "template of FreeSurfer, not a person"
        if is_localizer(_sequence_name(volume)):
            return "localizer or scout, by its name"
        if volume.series is not None and (slices := _few_slices(volume.path)):
            return f"localizer or scout: a series of {slices} slices"
        part = complex_part(_sequence_name(volume))
        return f"the {part} of the signal, not its magnitude" if part else ""


def _few_slices(volume: Path) -> int:
    """Return the number of slices of a series that has too few for a brain scan, else 0."""
    try:
        slices = min(read_header(volume).shape)
    except ScanError:
        return 0  # `prepare` lists it with the reason
    return slices if 1 < slices < MIN_SLICES else 0


def _sequence_name(volume: FoundVolume) -> str:
    """Return the text with the sequence: the DICOM series description, else the file's name."""
    description = volume.series.description if volume.series else ""
    return description or stem(volume.inside)


def _visits(names: list[str], whole: set[str]) -> dict[str, tuple[str, str]]:
    """Return name -> person and visit, for names of several visits of one person.

    Args:
        names: names of scans' persons.
        whole: names that are not split.
    """
    people = visits_of_one_person(names)
    pairs = ((person, name) for person, group in people.items() for name in group if name not in whole)
    return {name: (person, split_visit(name)[1]) for person, name in pairs}


def _subjects(scans: list[FoundVolume], same_people: bool, root: Path) -> list[str]:
    """Return the name of each scan's person; see `Folder` for the rules."""
    bids = [_BIDS.search(str(scan.inside)) for scan in scans]
    named = [
        [*_personal(naming_folders(Path(str(scan.inside)[: match.start()]).parts, root)), match.group(1)]
        if match
        else _personal(naming_folders(_without_pipeline(scan.inside.parts[:-1], root), root))
        for scan, match in zip(scans, bids, strict=True)
    ]
    # Folders that all scans share are removed, but never the last one of a scan: it is the person's.
    columns = zip(*(names[:-1] for names in named), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    subjects = []
    by_folder = []
    for scan, match, names in zip(scans, bids, named, strict=True):
        below = names[shared:]
        if match is None and (scan.series is None or not scan.series.patient):
            by_folder.append(below)
        if match:
            subjects.append(names[-1] if same_people else "_".join(below))
        else:
            # DICOM series in the root itself are of one person, or of their patients.
            lone = Path(scan.series.source).name if scan.series else without_sequence(stem(scan.inside))
            subjects.append((below or [lone])[0])
    _warn_of_folders(by_folder)
    return subjects


def _warn_of_folders(nested: list[list[str]]) -> None:
    """Warn where a topmost folder, taken for a person, may be a site.

    It may be one if it has several folders whose names appear in no other topmost folder.

    Args:
        nested: names of the folders of each scan.
    """
    above: dict[str, set[str]] = defaultdict(set)
    for names in nested:
        if len(names) > 1:
            above[names[1]].add(names[0])
    inside: dict[str, list[str]] = defaultdict(list)
    for name, tops in above.items():
        if len(tops) == 1:
            inside[min(tops)].append(name)
    several = {top: names for top, names in inside.items() if len(names) > 1}
    if several:
        top, names = next(iter(several.items()))
        _log.warning(
            "the folder %s counts as one person and contains folders such as %s and %s (%d folders like it); "
            "if these are people, index each upper folder by itself, or edit the manifest's column `group`",
            top,
            *names[:2],
            len(several),
        )


def _without_pipeline(folders: Sequence[str], root: Path) -> Sequence[str]:
    """Return folders without those of a derivatives pipeline: `p1` for `derivatives/hdbet/p1`."""
    at = derivatives_at(folders, root)
    if at is None:
        return folders
    below = folders[at + 1 :]
    has_pipeline = folders[at].lower() in ("derivatives", "derivative") and len(below) > 1
    return [*folders[:at], *(below[1:] if has_pipeline else below)]


def _personal(names: list[str]) -> list[str]:
    """Return names of folders without dates and sequences, unless there are no other names."""
    return [name for name in names if not (_DATE.fullmatch(name) or names_sequence(name))] or names
