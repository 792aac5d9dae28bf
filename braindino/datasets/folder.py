"""Any folder of scans, for pretraining: every scan is taken that is not a mask, a derivative or broken."""

import re
from pathlib import Path
from typing import Any

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.walk import MASK_LIKE, LayoutError, find_scans, nothing_found, stem
from braindino.scans.dicom import TABLE, convert_series

# What a name says about the sequence; the first that matches counts.
_MODALITY = {
    "T1c": r"t1-?_?(c|ce|gd|post)(?![a-z])",
    "T1w": r"t1(?![0-9])|mp-?_?rage|spgr|bravo",
    "FLAIR": r"flair|t2f(?![a-z])",
    "T2w": r"t2(?![0-9])",
    "PD": r"(?<![a-z])pd(w)?(?![a-z])",
    "DWI": r"dwi|dti|(?<![a-z])adc(?![a-z])",
    "MRA": r"(?<![a-z])(mra|tof)(?![a-z])",
    "BOLD": r"bold|fmri|task-|rest(?![a-z])",
}
# Folders of masks, and folders that are no person's.
_MASKS = re.compile(r"(labels?|masks?|seg(mentation)?s?|lesions?)(Tr|Ts)?$", re.IGNORECASE)
_NOBODY = re.compile(
    r"(images?|dicoms?|data|raw|rawdata|train(ing)?|test(ing)?|val(idation)?|nii|nifti|scans?|mri|anat|derivatives"
    r"|t1w?|t2w?|pd|flair)(Tr|Ts|s)?$",
    re.IGNORECASE,
)


class Folder(ScanDataModule):
    """Scans in any arrangement of folders; no labels.

    The dataset's name is the folder's. The person is read from the path: a BIDS subject (`sub-...`) if there
    is one; else the topmost folder that is not called `images`, `train`, `raw` or the like; else the file's
    own name. Where people are named otherwise, edit the column `group` of the manifest.

    Args:
        root: the folder, or a manifest.
        store: folder of prepared scans.
        derivatives: whether to take what lies in folders called `derivatives`.
        dicom: folder that DICOM series are converted into by dcm2niix, with `series.csv`, which tells what
            came from where; without it they are left out.
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
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.dicom = None if dicom is None else Path(dicom).absolute()
        self.derivatives = derivatives

    def index(self, root: Path) -> Manifest:
        """Manifest of the scans under `root`."""
        rows = ManifestBuilder(root.absolute().name or "folder")
        kept: list[tuple[Path, Path]] = []  # the file, and where it lies in the folder (a series: lay)
        folders: list[Path] = []
        for path in find_scans(root, rows, None if self.dicom is None else folders):
            if self.dicom is not None and path.absolute().is_relative_to(self.dicom):
                continue  # converted earlier, into a folder inside this one
            inside = path.relative_to(root)
            if MASK_LIKE.search(stem(path)) or any(_MASKS.match(part) for part in inside.parts[:-1]):
                rows.drop(path, "", "mask or segmentation, by its name")
            elif "derivatives" in inside.parts and not self.derivatives:
                rows.drop(path, "", "derivative")
            else:
                kept.append((path, inside))
        if folders and self.dicom is not None:
            for series in convert_series(folders, root, self.dicom):
                if series.output:
                    kept.append((self.dicom / series.output, Path(series.output)))
                else:
                    rows.drop(series.source, "", f"DICOM: {series.reason}")
        if not kept and folders and self.dicom is not None:
            raise LayoutError(
                f"{root}: none of {len(folders)} folders of DICOM gave a volume; see {self.dicom / TABLE}."
            )
        if not kept:
            raise nothing_found(root, self.name, "*.nii, *.nii.gz, *.mgz, *.hdr with *.img, DICOM")
        for path, inside in kept:
            bids = re.search(r"sub-([A-Za-z0-9]+)", str(inside))
            above = [part for part in inside.parts[:-1] if not _NOBODY.match(part)]
            session = re.search(r"ses-([A-Za-z0-9]+)", str(inside))
            subject = bids.group(1) if bids else (above or [stem(inside)])[0]
            rows.keep(path, subject, modality_of(stem(inside)), session=session.group(1) if session else "")
        return rows.build()


def modality_of(name: str) -> str:
    """Sequence that a file's name tells, else `unknown`."""
    for modality, pattern in _MODALITY.items():
        if re.search(pattern, name, re.IGNORECASE):
            return modality
    return "unknown"
