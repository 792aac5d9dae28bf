"""Finding scans under a folder: every file is either yielded or listed with the reason it was passed over."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from braindino.datasets.bids_ignore import BidsIgnore
from braindino.datasets.manifest import ManifestBuilder
from braindino.errors import BraindinoError
from braindino.scans.dicom import TABLE, Series, convert_series, is_dicom
from braindino.scans.reading import files_of

_SCAN = re.compile(r"\.(nii|nii\.gz|mgz|mgh|hdr|hdr\.gz)$", re.IGNORECASE)
# Slices often have no suffix, or a number that looks like one.
_MAYBE_DICOM = re.compile(r"\.(dcm|ima)$|^[^.]+$|^[a-z]{0,4}[\d._-]+$", re.IGNORECASE)
# A masked scan is a scan, and `seg` is a word or the end of one: nobody called Segura is a mask.
MASK_LIKE = re.compile(r"seg(s|m|ment\w*)?(?![a-z])|mask(?!ed)|label(?!l)|lesion|parenchyma", re.IGNORECASE)
# Folders that are no person's and no site's: of a kind of file, of a part of a split, of a visit.
_NOBODY = re.compile(
    r"(images?|dicoms?|data|raw|rawdata|rawbids|train(ing)?|test(ing)?|val(idation)?|nii|nifti|scans?|mri|anat|derivatives"
    r"|t1(w|c|n)?|t2(w|f)?|pd|flair)(Tr|Ts|s)?"
    r"|ses-\w+|(ses|session|visit|wave|tp|time-?point|month|year)[-_ ]?\d+|baseline|follow-?up[-_ ]?\d*",
    re.IGNORECASE,
)
_POINTER = 1024  # bytes; git-annex and git-lfs leave a line or three of text


class LayoutError(BraindinoError):
    """A folder that is not the dataset it is said to be."""


@dataclass(frozen=True)
class Found:
    """A scan: its file, and where that (or the series it was made of) lies in the dataset's folder."""

    path: Path
    inside: Path
    series: Series | None = None


def telling(folders: Sequence[str]) -> list[str]:
    """Those of nested folders that may name a person, a site or a dataset; none from `derivatives` on."""
    names = list(folders)
    names = names[: names.index("derivatives")] if "derivatives" in names else names
    return [name for name in names if not _NOBODY.fullmatch(name)]


def stem(path: Path) -> str:
    """File name without the suffix of a scan, `.nii.gz` included."""
    return _SCAN.sub("", path.name)


def find_scans(root: Path, rows: ManifestBuilder, dicom: list[Path] | None = None) -> Iterator[Path]:
    """Yield the scans under `root` in sorted order, following links to folders but not in circles.

    What a BIDS dataset has beside its scans (see `BidsIgnore`) is dropped with its reason, and so are broken
    links, pointer files and Analyze headers without an image. A folder of DICOM files is dropped once, unless
    the list `dicom` is given: then it is put there. Hidden files and folders are not looked at.

    Raises:
        LayoutError: `root` is not a folder.
    """
    if not root.is_dir():
        raise LayoutError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}.")
    seen: set[str] = set()
    ignored = BidsIgnore(root)
    with tqdm(desc="looking for scans", unit=" scans", disable=None) as progress:
        for folder, folders, files in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            if _holds_dicom(Path(folder), files):
                if reason := ignored.reason(Path(folder), is_folder=True):
                    rows.drop(Path(folder), "", reason)
                elif dicom is None:
                    rows.drop(Path(folder), "", "DICOM series; convert it with dcm2niix first")
                else:
                    dicom.append(Path(folder))
            for name in sorted(files):
                if name.startswith(".") or not _SCAN.search(name):
                    continue
                path = Path(folder, name)
                reason = ignored.reason(path) or unusable(path)
                if reason:
                    rows.drop(path, "", reason)
                    continue
                progress.update()
                yield path


def find_volumes(
    root: Path,
    rows: ManifestBuilder,
    dicom: Path | None,
    pass_over: Callable[[Path], str] = lambda folder: "",
) -> Iterator[Found]:
    """Yield what `find_scans` does, then the series of DICOM as volumes, converted into the folder `dicom`.

    Without `dicom` no series is converted; nor is one whose folder has a reason to be passed over. Those, and
    series that give no volume, are dropped.

    Raises:
        LayoutError: `root` is not a folder, or holds nothing but series and none gave a volume.
        BraindinoError: there is no dcm2niix.
    """
    folders: list[Path] = []
    nothing = True
    for path in find_scans(root, rows, None if dicom is None else folders):
        if dicom is not None and path.absolute().is_relative_to(dicom):
            continue  # converted earlier, into a folder inside this one
        nothing = False
        yield Found(path, path.relative_to(root))
    if dicom is None or not folders:
        return
    wanted = []
    for folder in folders:
        if reason := pass_over(folder):
            rows.drop(folder, "", reason)
        else:
            wanted.append(folder)
    for series in convert_series(wanted, root, dicom) if wanted else []:
        if series.output:
            nothing = False
            yield Found(dicom / series.output, Path(series.output), series)
        else:
            rows.drop(series.source, "", f"DICOM: {series.reason}")
    if nothing and wanted:
        raise LayoutError(
            f"{root}: none of {len(wanted)} folders of DICOM gave a volume; see {dicom / TABLE}."
        )


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
