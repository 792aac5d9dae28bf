"""All error classes: what is wrong, where, what was expected, the remedy."""

from pathlib import Path
from typing import Any


class BraindinoError(Exception):
    """A mistake in the input, told in one to three lines: where it is, what was expected, the remedy.

    The command prints the message without a traceback and exits with code 2. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """


class ScanError(BraindinoError):
    """A file that cannot be used as a scan: `path`, and `reason` in one short sentence.

    `lasting` is False when the file itself may be sound (missing, not permitted, an error of the disk): the
    next run should look again, although neither size nor time of the file will tell it to.
    """

    def __init__(self, path: Path, reason: str, lasting: bool = True) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason
        self.lasting = lasting

    def __reduce__(self) -> Any:
        """Exceptions are pickled by their arguments; these are not the message."""
        return type(self), (self.path, self.reason, self.lasting)


class TooLargeError(ScanError):
    """A scan of more voxels than are read; `voxels` says how many, so that a higher limit can try again."""

    def __init__(self, path: Path, reason: str, voxels: int) -> None:
        super().__init__(path, reason)
        self.voxels = voxels

    def __reduce__(self) -> Any:
        """Exceptions are pickled by their arguments; these are not the message."""
        return type(self), (self.path, self.reason, self.voxels)


class HeaderError(BraindinoError):
    """What is wrong with a header, in a few words."""


class TableError(BraindinoError):
    """A table that cannot be used; the message names the file, the column and what was found."""


class LayoutError(BraindinoError):
    """A folder that is not the dataset it is said to be."""


class SplitError(BraindinoError):
    """A split that cannot be made, or a split file that cannot be used."""


class ManifestError(BraindinoError):
    """A manifest that cannot be used; the message names file, row and column."""


class DatasetError(BraindinoError):
    """A dataset that cannot be used as it was asked to be."""


class NotFiniteError(BraindinoError):
    """What an encoder or a probe makes of a scan is not finite."""


class CellError(BraindinoError):
    """One cell cannot be trained; the others may."""


class DocumentError(ValueError):
    """A file is unreadable, or its content does not have the expected shape. Names the file and the key."""


class NothingSharedError(ValueError):
    """Two models have no label fraction, seed or test case in common: nothing to compare them on."""
