"""Finding scans under a folder: every file is either yielded or listed with the reason it was passed over."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from braindino.datasets.manifest import ManifestBuilder
from braindino.errors import BraindinoError
from braindino.scans.dicom import is_dicom
from braindino.scans.reading import files_of

_SCAN = re.compile(r"\.(nii|nii\.gz|mgz|mgh|hdr|hdr\.gz)$", re.IGNORECASE)
# Slices often have no suffix, or a number that looks like one.
_MAYBE_DICOM = re.compile(r"\.(dcm|ima)$|^[^.]+$|^[a-z]{0,4}[\d._-]+$", re.IGNORECASE)
MASK_LIKE = re.compile(r"seg|mask|label|lesion|parenchyma", re.IGNORECASE)
_POINTER = 1024  # bytes; git-annex and git-lfs leave a line or three of text


class LayoutError(BraindinoError):
    """A folder that is not the dataset it is said to be."""


def stem(path: Path) -> str:
    """File name without the suffix of a scan, `.nii.gz` included."""
    return _SCAN.sub("", path.name)


def find_scans(root: Path, rows: ManifestBuilder, dicom: list[Path] | None = None) -> Iterator[Path]:
    """Yield the scans under `root` in sorted order, following links to folders but not in circles.

    Broken links, pointer files and Analyze headers without an image are dropped with their reason, a folder
    of DICOM files once, unless the list `dicom` is given: then it is put there. Hidden files and folders are
    not looked at.

    Raises:
        LayoutError: `root` is not a folder.
    """
    if not root.is_dir():
        raise LayoutError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}.")
    seen: set[str] = set()
    with tqdm(desc="looking for scans", unit=" scans", disable=None) as progress:
        for folder, folders, files in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            if _holds_dicom(Path(folder), files):
                if dicom is None:
                    rows.drop(Path(folder), "", "DICOM series; convert it with dcm2niix first")
                else:
                    dicom.append(Path(folder))
            for name in sorted(files):
                if name.startswith(".") or not _SCAN.search(name):
                    continue
                path = Path(folder, name)
                reason = unusable(path)
                if reason:
                    rows.drop(path, "", reason)
                    continue
                progress.update()
                yield path


def _holds_dicom(folder: Path, files: list[str]) -> bool:
    """Whether the first few files that may be slices are; a folder of slices holds little else."""
    candidates = sorted(n for n in files if _MAYBE_DICOM.search(n) and not n.startswith("."))
    return any(is_dicom(folder / name) for name in candidates[:4])


def unusable(path: Path) -> str:
    """Why a file cannot be a scan, by a look at it from outside, or nothing."""
    try:
        size = path.stat().st_size
    except OSError:
        return "broken link" if path.is_symlink() else "cannot be looked at"
    files = files_of(path)
    if len(files) == 2:
        return "" if files[1].is_file() else "Analyze header without its .img"
    if size == 0:
        return "empty file"
    return (
        ""
        if size > _POINTER or _is_binary(path)
        else "pointer to data that was not fetched (git-annex, git-lfs)"
    )


def _is_binary(path: Path) -> bool:
    """A compressed mask may be as small as a pointer, but is no text."""
    try:
        with path.open("rb") as file:
            content = file.read(_POINTER)
    except OSError:
        return True  # reading it will tell what is wrong
    return b"\0" in content or content.startswith(b"\x1f\x8b")


def nothing_found(root: Path, dataset: str, looked_for: str) -> LayoutError:
    """The error for a folder without a scan of the dataset: what was looked for, and what is there."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    there = ", ".join(names[:6]) + (f", ... ({len(names)} entries)" if len(names) > 6 else "")
    return LayoutError(
        f"{root}: no scan of the dataset {dataset!r} here.\n"
        f"Looked for {looked_for}; found {there or 'an empty folder'}."
    )
