"""Exclude files of BIDS datasets besides scans: sourcedata, code, entries of .bidsignore."""

import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from braindino.datasets.tables import decode_table
from braindino.errors import TableError

# Folders at the top of a dataset whose content BIDS leaves open (specification, schema/rules/directories).
# `derivatives` is left to each reader; `rawbids` and `rawdata` contain the dataset itself.
_TOP_FOLDERS = {
    "code": "code of the dataset",
    "docs": "documentation of the dataset",
    "logs": "logs of the dataset",
    "phenotype": "phenotypes of the dataset",
    "stimuli": "stimuli of the dataset",
    "tmp_dcm2bids": "working folder of dcm2bids",
}
_SOURCES = "sourcedata"
_DERIVATIVES = re.compile(
    r"derivatives?|fmriprep|smriprep|mriqc|qsiprep|aslprep|petprep|nibabies|xcp_(d|abcd)", re.IGNORECASE
)
IGNORE_FILE = ".bidsignore"


class BidsIgnore:
    """Reasons to pass over files below a folder, by the rules of the BIDS datasets in it.

    A dataset is a folder with a `dataset_description.json`, a `.bidsignore`, or `sub-<label>` folders.
    """

    def __init__(self, root: Path) -> None:
        """Store the root; files are read on demand.

        Args:
            root: the folder that is walked; folders above it are not considered.
        """
        self.root = root
        self._of_folder = cache(self._reason_of_folder)
        self._dataset = cache(_is_dataset)
        self._patterns = cache(_patterns)

    def reason(self, path: Path, is_folder: bool = False) -> str:
        """Return why a file or folder below the root is passed over, or `""`.

        Args:
            path: the file or folder.
            is_folder: `path` is a folder.

        Raises:
            TableError: a `.bidsignore` that cannot be read.
        """
        return self._of_folder(path.parent) or self._reason_here(path, is_folder)

    def _reason_of_folder(self, folder: Path) -> str:
        if folder == self.root or self.root not in folder.parents:
            return ""
        return self._of_folder(folder.parent) or self._reason_here(folder, is_folder=True)

    def _reason_here(self, path: Path, is_folder: bool) -> str:
        """Return the reason for `path` itself, regardless of the folders above it."""
        if is_folder and path.name == _SOURCES:
            return "sourcedata: originals, of which the dataset has its own copy"
        if is_folder and path.name in _TOP_FOLDERS and self._dataset(path.parent):
            return f"{path.name}: {_TOP_FOLDERS[path.name]}, not scans"
        for top in path.parents:
            spec = self._patterns(top)
            if spec is not None:
                inside = path.relative_to(top).as_posix() + ("/" if is_folder else "")
                if spec.match_file(inside):
                    return f"named in {IGNORE_FILE}"
            if top == self.root:
                break
        return ""


def derivatives_at(folders: Sequence[str], base: Path) -> int | None:
    """Return the index of the first of nested folders that contains derivatives, or None.

    Such a folder is named `derivatives` or after a pipeline, or its `dataset_description.json` declares a
    dataset of derivatives.

    Args:
        folders: names of folders, each in the one before it.
        base: folder that contains the first.
    """
    for i, name in enumerate(folders):
        if _DERIVATIVES.fullmatch(name) or _is_derivative(base.joinpath(*folders[: i + 1])):
            return i
    return None


@cache
def _is_derivative(folder: Path) -> bool:
    file = folder / "dataset_description.json"
    if not file.is_file():
        return False
    try:
        description = json.loads(decode_table(file).lstrip("\ufeff"))
    except (ValueError, RecursionError, TableError):
        return False
    if not isinstance(description, dict):
        return False
    # fMRIPrep before 20.2 wrote `PipelineDescription` instead of `DatasetType`.
    kind = str(description.get("DatasetType", "")).lower()
    return kind == "derivative" or (not kind and "PipelineDescription" in description)


def _is_dataset(folder: Path) -> bool:
    """Return True for the top folder of a BIDS dataset."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return False
    return any(
        name in ("dataset_description.json", IGNORE_FILE, "participants.tsv") or name.startswith("sub-")
        for name in names
    )


def _patterns(folder: Path) -> GitIgnoreSpec | None:
    """Return the patterns of a folder's `.bidsignore`, which has the syntax of `.gitignore`."""
    file = folder / IGNORE_FILE
    if not file.is_file():
        return None
    return GitIgnoreSpec.from_lines(decode_table(file).splitlines())
