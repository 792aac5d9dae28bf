"""Former name of `braindino.datasets.discovery`, for datasets of users that import from it."""

from braindino.datasets.discovery import find_scans, find_volumes, stem
from braindino.datasets.discovery import no_scan_error as nothing_found

__all__ = ["find_scans", "find_volumes", "nothing_found", "stem"]
