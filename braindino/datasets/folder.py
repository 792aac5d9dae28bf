"""Any folder of scans, for pretraining: every scan is taken that is not a mask, a derivative or broken."""

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import NOTE, Manifest, ManifestBuilder
from braindino.datasets.patients import patient_note, people_of
from braindino.datasets.sequences import complex_part, is_localizer, recognise, sequence_of
from braindino.datasets.walk import MASK_LIKE, Found, find_volumes, nothing_found, stem, telling
from braindino.scans.reading import ScanError, read_header

_BIDS = re.compile(r"(?<![A-Za-z0-9])sub-([A-Za-z0-9]+)")
FEW_SLICES = 5  # of a series; single slices may be a collection's scans
_SESSION = re.compile(r"(?<![A-Za-z0-9])ses-([A-Za-z0-9]+)")
_MASKS = re.compile(r"(labels?|masks?|seg(mentation)?s?|lesions?)(Tr|Ts)?$", re.IGNORECASE)  # folders


class Folder(ScanDataModule):
    """Scans in any arrangement of folders; no labels.

    The dataset's name is the folder's. The person of a DICOM series is its patient (PatientID and issuer, see
    `people_of`). Where no PatientID tells people apart, and of other files, the person is read from the path:
    a BIDS subject (`sub-...`) if there
    is one, with the folders that it lies in (`siteA/sub-01` is not `siteB/sub-01`); else the topmost folder;
    else the file's own name. Folders called `images`, `train`, `raw`, `ses-1` or the like tell no person, nor
    do those that everything lies in. Where people are named otherwise, edit the manifest's column `group`.
    Scans of two folders of one name cannot be in one store, if people of both are called alike, before the
    option `dataset` says whether they are the same.

    Args:
        root: the folder, or a manifest.
        store: folder of prepared scans.
        derivatives: whether to take what lies in folders called `derivatives`.
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
        kept: list[Found] = []
        for found in find_volumes(root, rows, self.dicom):
            reason = self._unwanted(found)
            if reason:
                rows.drop(found.path, "", reason)
            else:
                kept.append(found)
        if not kept:
            raise nothing_found(root, self.name, "*.nii, *.nii.gz, *.mgz, *.hdr with *.img, DICOM", rows)
        people = people_of(kept, _subjects(kept, self.same_people))
        for found, subject in zip(kept, people, strict=True):
            session = _SESSION.search(str(found.inside))
            sequence, reason = recognise(_name(found))
            reasons = [f"modality: {reason}" if reason else "", patient_note(found)]
            notes = {NOTE: "; ".join(filter(None, reasons))} if any(reasons) else {}
            rows.keep(
                found.path, subject, sequence, session=session.group(1) if session else "", **notes
            )  # fmt: skip
        return rows.build()

    def _unwanted(self, found: Found) -> str:
        """Return why a scan is not taken, or `""`; series of DICOM are no masks or derivatives."""
        folders = found.inside.parts[:-1]
        if found.series is None:
            if MASK_LIKE.search(stem(found.path)) or any(_MASKS.match(name) for name in folders):
                return "mask or segmentation, by its name"
            if "derivatives" in folders and not self.derivatives:
                return "derivative"
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


def _name(found: Found) -> str:
    """Return what names the sequence: the series description of DICOM, else the file's name."""
    return found.series.description or stem(found.inside) if found.series else stem(found.inside)


def _subjects(scans: list[Found], same_people: bool) -> list[str]:
    """The name of each scan's person, as the class says."""
    bids = [_BIDS.search(str(found.inside)) for found in scans]
    named = [
        [*telling(Path(str(found.inside)[: match.start()]).parts), match.group(1)]
        if match
        else telling(found.inside.parts[:-1])
        for found, match in zip(scans, bids, strict=True)
    ]
    # Of everybody's folders the last always stays: it is the person's.
    columns = zip(*(names[:-1] for names in named), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    subjects = []
    for found, match, names in zip(scans, bids, named, strict=True):
        below = names[shared:]
        if match:
            subjects.append(names[-1] if same_people else "_".join(below))
        else:
            # Series of DICOM that lie in the root itself are of one person, or of their patients.
            lone = Path(found.series.source).name if found.series else stem(found.inside)
            subjects.append((below or [lone])[0])
    return subjects


def modality_of(name: str) -> str:
    """Return the sequence that the words of a file's name tell, else `unknown`; see `recognise`."""
    return sequence_of(name)
