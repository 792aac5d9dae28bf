"""Find scans under a folder; every other file is recorded with the reason it was not used."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from braindino.datasets.bids_ignore import BidsIgnore, derivatives_at
from braindino.datasets.manifest import ManifestBuilder, describe_path
from braindino.errors import LayoutError
from braindino.files import describe_special_file
from braindino.progress import disable_bar
from braindino.scans.content import SNIFF_BYTES, describe_content
from braindino.scans.dicom.series import TABLE, Series, convert_series, is_dicom
from braindino.scans.reading import files_of

_SCAN = re.compile(r"\.(nii|nii\.gz|mgz|mgh|hdr|hdr\.gz)$", re.IGNORECASE)
_IMAGE = re.compile(r"\.img(\.gz)?$", re.IGNORECASE)
# Files that accompany scans; they are not opened to look for DICOM.
_BESIDE = re.compile(
    r"\.(json|tsv|csv|txt|md|rst|xml|html?|pdf|docx?|xlsx?|ods|bvals?|bvecs?|log|ya?ml|toml|ini|inf|cfg|py|m|r|sh|js"
    r"|css|png|jpe?g|gif|svg|bmp|ico|exe|dll|so|jar|lnk|npy|npz|jsonl|bib|key"
    # Surfaces, tracts and transforms; FreeSurfer writes about 150 per person.
    r"|annot|label|stats|lta|xfm|m3z|ctab|touch|cmd|done|env|curv|gii|trk|tck|trx|vtk|h5|mat)$"
    r"|^[lr]h\.",
    re.IGNORECASE,
)
_OTHER_FORMATS = {
    r"n(hd|r)rd$|nhdr$": "NRRD",
    r"mh[ad]$": "MetaImage",
    r"mnc(\.gz)?$": "MINC",
    r"(brik|head)(\.gz)?$": "AFNI",
    r"mif(\.gz)?$": "MRtrix",
    r"(par|rec)$": "Philips PAR/REC",
    r"(zip|tar|tgz|tar\.gz|7z|rar)$": "an archive",
}
# A masked scan is a scan. `seg` must end a word, so that a person called Segura is no mask.
MASK_LIKE = re.compile(r"seg(s|m|ment\w*)?(?![a-z])|mask(?!ed)|label(?!l)|lesion|parenchyma", re.IGNORECASE)
# Names of folders for kinds of files, parts of a split or visits: no person, no site.
_GENERIC_FOLDER = re.compile(
    r"(images?|dicoms?|data|raw|rawdata|rawbids|train(ing)?|test(ing)?|val(idation)?|nii|nifti|scans?|mri|anat|derivatives"
    r"|t1(w|c|n)?|t2(w|f)?|pd|flair)(Tr|Ts|s)?"
    r"|ses-\w+|(ses|session|visit|wave|tp|time-?point|month|year|week|day)[-_ ]?\d+|baseline|screening"
    r"|follow-?up[-_ ]?\d*|pre|post|(pre|post)[-_]?(op|treatment|surgery)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FoundVolume:
    """A scan's file and its place in the dataset.

    Attributes:
        path: the file.
        inside: path relative to the dataset's folder, of the file or of the volume made from a series.
        series: the DICOM series that the file was converted from, or None.
    """

    path: Path
    inside: Path
    series: Series | None = None


def naming_folders(folders: Sequence[str], base: Path) -> list[str]:
    """Return those of nested folders whose name may be that of a person, a site or a dataset.

    Folders of derivatives, and folders in these, are not returned.

    Args:
        folders: names of folders, each in the one before it.
        base: folder that contains the first.
    """
    names = list(folders)[: derivatives_at(folders, base)]
    return [name for name in names if not _GENERIC_FOLDER.fullmatch(name)]


def stem(path: Path) -> str:
    """Return a file name without the suffix of a scan, such as `.nii.gz`."""
    return _SCAN.sub("", path.name)


def find_scans(
    root: Path, rows: ManifestBuilder, dicom: list[Path] | None = None, skip: Path | None = None
) -> Iterator[Path]:
    """Yield the scans under `root` in sorted order, following links to each folder once.

    Every other file that is not hidden is recorded in `rows`: dropped with a reason (files of a BIDS dataset
    besides its scans, see `BidsIgnore`; broken links, pointer files, other formats, pipes, folders that
    cannot be read), or passed over if its name is not like that of a scan. A folder of DICOM files is
    dropped as one entry, or appended to `dicom` if that is given.

    Args:
        root: the folder.
        rows: builder that records all other files.
        dicom: list that receives the folders with DICOM files.
        skip: folder below `root` to skip.

    Raises:
        LayoutError: `root` is not a folder.
    """
    if not root.is_dir():
        raise LayoutError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}.")
    ignored = BidsIgnore(root)
    with tqdm(desc="looking for scans", unit=" scans", disable=disable_bar()) as progress:
        for folder, names in _folders(root, rows, skip):
            slices = 0
            for name in names:
                path = folder / name
                if not _SCAN.search(name):
                    slices += _is_slice(path, rows)
                elif reason := ignored.reason(path) or unusable(path):
                    rows.drop(path, "", reason)
                else:
                    progress.update()
                    yield path
            if not slices:
                continue
            if reason := ignored.reason(folder, is_folder=True):
                rows.drop(folder, "", reason)
            elif dicom is None:
                rows.drop(folder, "", "DICOM series; convert it with dcm2niix first")
            else:
                dicom.append(folder)


def _folders(root: Path, rows: ManifestBuilder, skip: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder once with the sorted names of its files; drop unreadable folders."""

    def unreadable(error: OSError) -> None:
        rows.drop(Path(error.filename), "", f"folder cannot be read: {error.strerror}")

    seen: dict[str, str] = {}
    for folder, folders, files in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in seen or (skip is not None and real == os.path.realpath(skip)):
            folders.clear()
            if real in seen:
                rows.drop(Path(folder), "", f"the same folder as {describe_path(Path(seen[real]))}")
            continue
        seen[real] = folder
        yield Path(folder), sorted(name for name in files if not name.startswith("."))


def _is_slice(path: Path, rows: ManifestBuilder) -> bool:
    """Return True for a DICOM file without the suffix of a scan; record any other file."""
    if reason := _unusable_file(path):
        rows.drop(path, "", reason)
        return False
    if _IMAGE.search(path.name):
        if files_of(path)[0].is_file():
            # The header is yielded as the scan.
            return False
        if is_dicom(path):
            return True
        rows.drop(path, "", "Analyze image without its .hdr")
        return False
    if _BESIDE.search(path.name):
        rows.pass_over(path)
        return False
    if is_dicom(path):
        return True
    for suffix, name in _OTHER_FORMATS.items():
        if re.search(rf"\.{suffix}", path.name, re.IGNORECASE):
            rows.drop(path, "", f"{name} is not read; convert it to NIfTI")
            return False
    rows.pass_over(path)
    return False


def find_volumes(
    root: Path,
    rows: ManifestBuilder,
    dicom: Path | None,
    pass_over: Callable[[Path], str] = lambda folder: "",
) -> Iterator[FoundVolume]:
    """Yield the scans under `root`, then the volumes that its DICOM series are converted to.

    Series that are not converted, or that give no volume, are dropped with a reason.

    Args:
        root: the folder.
        rows: builder that records all other files; see `find_scans`.
        dicom: folder for converted volumes; None converts no series.
        pass_over: returns why a folder of DICOM files is not converted, or `""`.

    Raises:
        LayoutError: `root` is not a folder, or contains DICOM series only and none gave a volume.
        BraindinoError: dcm2niix is not installed.
    """
    folders: list[Path] = []
    is_empty = True
    # Volumes that were converted earlier may be in a folder inside this one.
    for path in find_scans(root, rows, None if dicom is None else folders, dicom):
        is_empty = False
        yield FoundVolume(path, path.relative_to(root))
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
            is_empty = False
            yield FoundVolume(dicom / series.output, Path(series.output), series)
        else:
            rows.drop(series.source, "", f"DICOM: {series.reason}")
    if is_empty and wanted:
        reasons = rows.reasons("DICOM: ")
        raise LayoutError(
            f"{root}: none of {len(wanted)} folders of DICOM gave a volume: {reasons}.\nSee {dicom / TABLE}."
        )


def unusable(path: Path) -> str:
    """Return why a file cannot be a scan, by its name, size and first bytes, or `""`."""
    if reason := _unusable_file(path):
        return reason
    files = files_of(path)
    if len(files) == 2:
        return "" if files[1].is_file() else "Analyze header without its .img"
    size = path.stat().st_size
    if size == 0:
        return "empty file"
    if size > SNIFF_BYTES:
        return ""
    kind = describe_content(path.read_bytes())
    if kind.startswith("a pointer"):
        return "pointer to data that was not fetched (git-annex, git-lfs)"
    # A compressed mask may be this small, but is no text.
    return f"no scan, but {kind}" if kind not in ("", "gzip", "DICOM") else ""


def _unusable_file(path: Path) -> str:
    """Return why a path cannot be opened as a file, or `""`."""
    try:
        path.stat()
    except OSError as error:
        return "broken link" if path.is_symlink() else f"cannot be looked at: {error.strerror}"
    if special := describe_special_file(path):
        return special
    return "" if os.access(path, os.R_OK) else "no permission to read it"


def no_scan_error(
    root: Path, dataset: str, looked_for: str, rows: ManifestBuilder | None = None
) -> LayoutError:
    """Return the error for a folder without a scan of the dataset.

    Args:
        root: the folder.
        dataset: name of the dataset.
        looked_for: pattern of its file names.
        rows: builder with the excluded files, for their reasons.
    """
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in root.iterdir())
    listed = ", ".join(names[:6]) + (f", ... ({len(names)} entries)" if len(names) > 6 else "")
    message = (
        f"{root}: no scan of the dataset {dataset!r} here.\n"
        f"Looked for {looked_for}; found {listed or 'an empty folder'}."
    )
    if rows is not None and rows.reasons():
        message += f"\nExcluded: {rows.reasons()}."
    return LayoutError(message)
