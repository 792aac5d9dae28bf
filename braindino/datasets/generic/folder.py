"""Any folder of scans, for pretraining: every scan is taken that is not a mask, a derivative or broken."""

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
    sequence_of,
)
from braindino.errors import ScanError
from braindino.scans.reading import read_header

_BIDS = re.compile(r"(?<![A-Za-z0-9])sub-([A-Za-z0-9]+)")
# Words that name a mask where a file's name ends in them; a tumour in the middle is what the scan shows.
_MASK_ENDS = re.compile(
    r"(^|[-_. ])(rois?|tumou?r|wmh|gt|ground[-_ ]?truth|ribbon|aparc\S*|aseg\S*)$", re.IGNORECASE
)
_TEMPLATE = re.compile(r"fsaverage\w*|[lr]h\.EC_average|cvs_avg35\w*")
_DATE = re.compile(r"(19|20)\d\d([-_.]?)(0\d|1[0-2])\2[0-3]\d([-_T ].*)?")
_log = logging.getLogger(__name__)
FEW_SLICES = 5  # of a series; single slices may be a collection's scans
_SESSION = re.compile(r"(?<![A-Za-z0-9])ses-([A-Za-z0-9]+)")
_MASKS = re.compile(r"(labels?|masks?|seg(mentation)?s?|lesions?)(Tr|Ts)?$", re.IGNORECASE)  # folders


class Folder(ScanDataModule):
    """Scans in any arrangement of folders; no labels.

    The dataset's name is the folder's. The person of a DICOM series is its patient (PatientID and issuer, see
    `people_of`). Where no PatientID tells people apart, and of other files, the person is read from the path:
    a BIDS subject (`sub-...`) if there
    is one, with the folders that it lies in (`siteA/sub-01` is not `siteB/sub-01`); else the topmost folder;
    else the file's own name without its sequence (`p1_T1` and `p1_FLAIR` are of p1). Folders called `images`,
    `train`, `raw`, `ses-1` or the like tell no person, nor do dates or those that everything lies in. Names
    that differ only in a visit at their end (`p1_baseline`, `p1_m12`) are one person, and so are visits of
    BraTS cases. Where people are named otherwise, edit the manifest's column `group`.
    Scans of two folders of one name cannot be in one store, if people of both are called alike, before the
    option `dataset` says whether they are the same.

    Args:
        root: the folder, or a manifest.
        store: folder of prepared scans.
        derivatives: whether to take what lies in folders called `derivatives`, or in datasets of derivatives
            (by their `dataset_description.json`).
        dicom: folder that DICOM series are converted into by dcm2niix, with `series.csv`, which tells what
            came from where; without it they are left out.
        same_people: whether a BIDS subject is one person in whatever folders it lies.
        dataset: name of the dataset, which persons' keys begin with; the folder's by default.
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
        """Manifest of the scans under `root`."""
        name, origin = self.dataset or root.absolute().name or "folder", None if self.dataset else root
        rows = ManifestBuilder(name, origin)
        kept: list[FoundVolume] = []
        for found in find_volumes(root, rows, self.dicom):
            reason = self._unwanted(found, root)
            if reason:
                rows.drop(found.path, "", reason)
            else:
                kept.append(found)
        if not kept:
            raise no_scan_error(root, self.name, "*.nii, *.nii.gz, *.mgz, *.hdr with *.img, DICOM", rows)
        names = _subjects(kept, self.same_people, root)
        # The label of a BIDS subject is a person's, even one such as `v1`.
        labels = {n for n, found in zip(names, kept, strict=True) if _BIDS.search(str(found.inside))}
        visits = _visits(names, labels)
        people = people_of(kept, [visits.get(name, (name, ""))[0] for name in names])
        for found, name, subject in zip(kept, names, people, strict=True):
            match = _SESSION.search(str(found.inside))
            session = match.group(1) if match else visits.get(name, ("", ""))[1]
            sequence, reason = recognise(_name(found))
            reasons = [f"modality: {reason}" if reason else "", patient_note(found)]
            notes = {NOTE: "; ".join(filter(None, reasons))} if any(reasons) else {}
            rows.keep(found.path, subject, sequence, group=person_of_brats(subject), session=session, **notes)
        return rows.build()

    def _unwanted(self, found: FoundVolume, root: Path | None = None) -> str:
        """Return why a scan is not taken, or `""`; series of DICOM are no masks or derivatives."""
        folders = found.inside.parts[:-1]
        if found.series is None:
            name = stem(found.path)
            is_mask = MASK_LIKE.search(name) or _MASK_ENDS.search(name)
            if is_mask or any(_MASKS.match(folder) for folder in folders):
                return "mask or segmentation, by its name"
            if not self.derivatives and derivatives_at(folders, root or Path(self.root)) is not None:
                return "derivative"
            if any(_TEMPLATE.fullmatch(name) for name in folders):
                return "template of FreeSurfer, not a person"
        if is_localizer(_name(found)):
            return "localizer or scout, by its name"
        if found.series is not None and (slices := _few_slices(found.path)):
            return f"localizer or scout: a series of {slices} slices"
        part = complex_part(_name(found))
        return f"the {part} of the signal, not its magnitude" if part else ""


def _few_slices(volume: Path) -> int:
    """Return the number of slices of a series that is too short to be a scan of a brain, else 0."""
    try:
        slices = min(read_header(volume).shape)
    except ScanError:  # `prepare` lists it with the reason
        return 0
    return slices if 1 < slices < FEW_SLICES else 0


def _name(found: FoundVolume) -> str:
    """Return what names the sequence: the series description of DICOM, else the file's name."""
    return found.series.description or stem(found.inside) if found.series else stem(found.inside)


def _visits(names: list[str], whole: set[str]) -> dict[str, tuple[str, str]]:
    """Return name -> person and visit, for names of several visits of one person; none of `whole` is one."""
    people = visits_of_one_person(names)
    pairs = ((person, name) for person, same in people.items() for name in same if name not in whole)
    return {name: (person, split_visit(name)[1]) for person, name in pairs}


def _subjects(scans: list[FoundVolume], same_people: bool, root: Path) -> list[str]:
    """The name of each scan's person, as the class says."""
    bids = [_BIDS.search(str(found.inside)) for found in scans]
    named = [
        [*_personal(naming_folders(Path(str(found.inside)[: match.start()]).parts, root)), match.group(1)]
        if match
        else _personal(naming_folders(_without_pipeline(found.inside.parts[:-1], root), root))
        for found, match in zip(scans, bids, strict=True)
    ]
    # Of everybody's folders the last always stays: it is the person's.
    columns = zip(*(names[:-1] for names in named), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    subjects = []
    by_folder = []
    for found, match, names in zip(scans, bids, named, strict=True):
        below = names[shared:]
        if match is None and (found.series is None or not found.series.patient):
            by_folder.append(below)
        if match:
            subjects.append(names[-1] if same_people else "_".join(below))
        else:
            # Series of DICOM that lie in the root itself are of one person, or of their patients.
            lone = Path(found.series.source).name if found.series else without_sequence(stem(found.inside))
            subjects.append((below or [lone])[0])
    _warn_of_folders(by_folder)
    return subjects


def _warn_of_folders(nested: list[list[str]]) -> None:
    """Warn where the topmost folder, taken for a person, may be a site: each has folders of its own names."""
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
            "the folder %s counts as one person and holds folders such as %s and %s (%d folders like it); if "
            "these are people, index each upper folder by itself, or edit the manifest's column `group`",
            top, *names[:2], len(several),
        )  # fmt: skip


def _without_pipeline(folders: Sequence[str], root: Path) -> Sequence[str]:
    """Return nested folders without those of derivatives: `derivatives/hdbet/p1` is p1's, as `p1` is."""
    at = derivatives_at(folders, root)
    if at is None:
        return folders
    below = folders[at + 1 :]
    has_pipeline = folders[at].lower() in ("derivatives", "derivative") and len(below) > 1
    return [*folders[:at], *(below[1:] if has_pipeline else below)]


def _personal(names: list[str]) -> list[str]:
    """Return names of folders without dates and sequences, if there are others: these name no person."""
    return [name for name in names if not (_DATE.fullmatch(name) or names_sequence(name))] or names


def modality_of(name: str) -> str:
    """Return the sequence that the words of a file's name tell, else `unknown`; see `recognise`."""
    return sequence_of(name)
