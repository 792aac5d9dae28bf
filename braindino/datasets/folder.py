"""Any folder of scans, for pretraining: every scan is taken that is not a mask, a derivative or broken."""

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.walk import MASK_LIKE, Found, find_volumes, nothing_found, stem, telling

# What a name says about the sequence; the first that matches counts.
_MODALITY = {
    "T1c": r"t1-?_?(c|ce|gd|post)(?![a-z])",
    "T1w": r"t1(?![0-9])|mp-?_?rage|spgr|bravo|(?<![a-z])mpr(?![a-z])",
    "FLAIR": r"flair|t2f(?![a-z])",
    "T2w": r"t2(?![0-9])",
    "PD": r"(?<![a-z])pd(w)?(?![a-z])",
    "DWI": r"dwi|dti|(?<![a-z])adc(?![a-z])",
    "MRA": r"(?<![a-z])(mra|tof)(?![a-z])",
    "BOLD": r"bold|fmri|task-|rest(?![a-z])",
}
_BIDS = re.compile(r"(?<![A-Za-z0-9])sub-([A-Za-z0-9]+)")
_MASKS = re.compile(r"(labels?|masks?|seg(mentation)?s?|lesions?)(Tr|Ts)?$", re.IGNORECASE)  # folders


class Folder(ScanDataModule):
    """Scans in any arrangement of folders; no labels.

    The dataset's name is the folder's. The person is read from the path: a BIDS subject (`sub-...`) if there
    is one, with the folders that it lies in (`siteA/sub-01` is not `siteB/sub-01`); else the topmost folder;
    else the file's own name. Folders called `images`, `train`, `raw`, `ses-1` or the like tell no person, nor
    do those that everything lies in. Where people are named otherwise, edit the manifest's column `group`.
    Two folders of one name are one dataset: who is called alike in both counts as one person, so that no
    split can part two scans that may be of one.

    Args:
        root: the folder, or a manifest.
        store: folder of prepared scans.
        derivatives: whether to take what lies in folders called `derivatives`.
        dicom: folder that DICOM series are converted into by dcm2niix, with `series.csv`, which tells what
            came from where; without it they are left out.
        same_people: whether a BIDS subject is one person in whatever folders it lies.
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
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.dicom = None if dicom is None else Path(dicom).absolute()
        self.derivatives, self.same_people = derivatives, same_people

    def index(self, root: Path) -> Manifest:
        """Manifest of the scans under `root`."""
        rows = ManifestBuilder(root.absolute().name or "folder")
        kept: list[Found] = []
        for found in find_volumes(root, rows, self.dicom):
            reason = "" if found.series else self._unwanted(found)
            if reason:
                rows.drop(found.path, "", reason)
            else:
                kept.append(found)
        if not kept:
            raise nothing_found(root, self.name, "*.nii, *.nii.gz, *.mgz, *.hdr with *.img, DICOM")
        for found, subject in zip(kept, _subjects(kept, self.same_people), strict=True):
            session = re.search(r"ses-([A-Za-z0-9]+)", str(found.inside))
            rows.keep(
                found.path, subject, modality_of(stem(found.inside)),
                session=session.group(1) if session else "",
            )  # fmt: skip
        return rows.build()

    def _unwanted(self, found: Found) -> str:
        folders = found.inside.parts[:-1]
        if MASK_LIKE.search(stem(found.path)) or any(_MASKS.match(name) for name in folders):
            return "mask or segmentation, by its name"
        return "derivative" if "derivatives" in folders and not self.derivatives else ""


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
            subjects.append((below or [stem(found.inside)])[0])
    return subjects


def modality_of(name: str) -> str:
    """Sequence that a file's name tells, else `unknown`."""
    for modality, pattern in _MODALITY.items():
        if re.search(pattern, name, re.IGNORECASE):
            return modality
    return "unknown"
