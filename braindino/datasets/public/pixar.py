"""Pixar (OpenNeuro ds000228): people of 3 to 39 years who watched a film; age from T1w."""

import re
from pathlib import Path
from typing import ClassVar

from braindino.datasets.cells import is_missing
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import find_scans, no_scan_error, stem
from braindino.datasets.generic.bids import entities
from braindino.datasets.generic.bids_tables import People
from braindino.datasets.manifest import NOTE, Manifest, ManifestBuilder

_SUBJECT = re.compile(r"^pixar\d+$")


class Pixar(ScanDataModule):
    """Age in years (`Age (years)` of `participants.tsv`) from one T1w scan per person.

    People without an age are dropped.

    Args:
        root: folder that holds `sub-pixar001/` and `participants.tsv`, or a manifest.
        store: folder of prepared scans.
        **options: see `ScanDataModule`.
    """

    name = "pixar"
    target: ClassVar[tuple[str, ...]] = ("age",)

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the BIDS folder."""
        rows = ManifestBuilder(self.name)
        scans: dict[str, Path] = {}
        for path in find_scans(root, rows):
            subject = entities(path).get("sub", "")
            if "derivatives" in path.relative_to(root).parts:
                rows.drop(path, subject, "derivative")
            elif not _SUBJECT.match(subject) or not stem(path).endswith("_T1w"):
                rows.drop(path, subject, "not a T1w scan of a person (sub-pixar001_T1w.nii.gz)")
            elif subject in scans:
                rows.drop(path, subject, "another scan of the person is preferred")
            else:
                scans[subject] = path
        if not scans:
            raise no_scan_error(root, self.name, "sub-pixar001/anat/sub-pixar001_T1w.nii.gz")
        people = People(root, required=True)
        for subject, path in scans.items():
            person = people.columns(subject, "", [""])
            if subject not in people:
                rows.drop(path, subject, "not in participants.tsv")
            elif is_missing(person["age"]):
                reason = person.get(NOTE, "")
                rows.drop(path, subject, "no age in participants.tsv" + (f": {reason}" if reason else ""))
            else:
                rows.keep(path, subject, "T1w", sex=person["sex"], age=person["age"])
        return rows.build()
