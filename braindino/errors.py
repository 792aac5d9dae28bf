"""Define all error classes of the package."""

from pathlib import Path
from typing import Any


class BraindinoError(Exception):
    """Signal a mistake in the input.

    The message has one to three lines: what is wrong, where, what was expected, the remedy. The command
    prints it without a traceback and exits with code 2. Any other exception is a defect of the program and is
    shown with its traceback.
    """


class ScanError(BraindinoError):
    """Signal a file that cannot be used as a scan.

    Attributes:
        path: the file.
        reason: why it cannot be used, in one short sentence.
        lasting: False when the file itself may be sound (missing, no permission, a disk error), so that the
            next run should read it again although its size and time are unchanged.
    """

    def __init__(self, path: Path, reason: str, lasting: bool = True) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason
        self.lasting = lasting

    def __reduce__(self) -> Any:
        """Return how to unpickle the error: its arguments are not the message."""
        return type(self), (self.path, self.reason, self.lasting)


class TooLargeError(ScanError):
    """Signal a scan with more voxels than the limit.

    Attributes:
        voxels: number of voxels of the scan, so that a run with a higher limit reads it again.
    """

    def __init__(self, path: Path, reason: str, voxels: int) -> None:
        super().__init__(path, reason)
        self.voxels = voxels

    def __reduce__(self) -> Any:
        """Return how to unpickle the error: its arguments are not the message."""
        return type(self), (self.path, self.reason, self.voxels)


class HeaderError(BraindinoError):
    """Signal a header that cannot be used; the message has a few words."""


class TableError(BraindinoError):
    """Signal a table that cannot be used; the message names the file, the column and the value."""


class LayoutError(BraindinoError):
    """Signal a folder that does not contain the dataset that was named."""


class SplitError(BraindinoError):
    """Signal a split that cannot be made, or a split file that cannot be used."""


class ManifestError(BraindinoError):
    """Signal a manifest that cannot be used; the message names file, row and column."""


class DatasetError(BraindinoError):
    """Signal a dataset that cannot be used with the given settings."""


class NotFiniteError(BraindinoError):
    """Signal that the output of an encoder or a probe for a scan is not finite."""


class CellError(BraindinoError):
    """Signal that one cell of a study cannot be trained; the remaining cells may."""


class DocumentError(ValueError):
    """Signal a file that is unreadable or of the wrong shape, naming the file and the key."""


class NothingSharedError(ValueError):
    """Signal that two models share no label fraction, seed or test case to compare them on."""
