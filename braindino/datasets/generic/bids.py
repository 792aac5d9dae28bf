"""BIDS datasets: anatomical scans by their entities, people and sessions by the tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindino.datasets.bids_ignore import derivatives_at
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import MASK_LIKE, find_scans, naming_folders, no_scan_error, stem
from braindino.datasets.generic.bids_tables import People
from braindino.datasets.manifest import NOTE, Manifest, ManifestBuilder
from braindino.datasets.sequences import (
    BIDS_SUFFIXES,
    bids_sequence,
    complex_part,
    is_localizer,
    parse_entities,
)

# Every manifest has a column for each of the first entities; for the others only if a scan has them.
_COLUMN_ENTITIES = ("acq", "run")
_OPTIONAL_ENTITIES = ("ce", "rec", "echo", "chunk", "space", "desc")


class BIDS(ScanDataModule):
    """Anatomical scans of a BIDS dataset, without labels.

    Scans are `sub-X[/ses-Y]/anat/..._<suffix>.nii.gz`. The sequence follows from suffix and entities:
    `ce-gadolinium_T1w` is T1c. Phase images (`part-`), inversion images (`inv-`) and localizers are dropped.

    Sex, age in years and all further columns come from `participants.tsv`, `sub-X_sessions.tsv` and their
    sidecars (units, codes); a column with the name of a standard column of manifests gets the suffix
    `_in_table`. The column `blank_because` contains the reason if an age or sex is blank although the tables
    have a value.

    `sourcedata/`, `code/` and the paths in `.bidsignore` are excluded. The dataset's name is that of the
    folder with its subjects; below the root it includes the folders above it (`siteA`, `europe/siteA`), but
    not general names such as `rawdata`. A person is a subject of a dataset.

    Args:
        root: the dataset's folder (a folder of several is fine), or a manifest.
        store: folder of prepared scans.
        suffixes: BIDS suffixes of the scans to take.
        derivatives: whether to take scans in folders called `derivatives`, or in datasets of derivatives (by
            their `dataset_description.json`).
        same_age: whether the age in `participants.tsv` applies to every session, not only to the first.
        dataset: name of the dataset, the first part of persons' keys; by default that of the folder.
        **options: see `ScanDataModule`.
    """

    name = "bids"

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        suffixes: tuple[str, ...] = tuple(BIDS_SUFFIXES),
        derivatives: bool = False,
        same_age: bool = False,
        dataset: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        self.dataset = dataset
        self.suffixes = suffixes
        self.derivatives = derivatives
        self.same_age = same_age

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the scans under `root`."""
        whole = self.dataset or root.absolute().name or "bids"
        rows = ManifestBuilder(whole, None if self.dataset else root)
        scans: list[tuple[Path, dict[str, str], str]] = []
        sessions: dict[tuple[Path, str], set[str]] = {}
        for path in find_scans(root, rows):
            named, suffix = entities(path), stem(path).rpartition("_")[2]
            reason = self._exclusion_reason(path.relative_to(root), named, suffix, root)
            if reason:
                rows.drop(path, named.get("sub", ""), reason)
                continue
            scans.append((path, named, suffix))
            top = _dataset_folder(path, named["sub"], root)
            sessions.setdefault((top, named["sub"]), set()).add(named.get("ses", ""))
        if not scans:
            wanted = self.suffixes[0] if len(self.suffixes) == 1 else f"{{{','.join(self.suffixes)}}}"
            looked_for = f"sub-<label>[/ses-<label>]/anat/sub-<label>_..._{wanted}.nii.gz"
            raise no_scan_error(root, self.name, looked_for, rows)
        tables: dict[Path, People] = {}
        for path, named, suffix in scans:
            subject, session = named["sub"], named.get("ses", "")
            top = _dataset_folder(path, subject, root)
            if top not in tables:
                tables[top] = People(_described_folder(top, root), same_age=self.same_age, subjects=top)
            columns = tables[top].columns(subject, session, sorted(sessions[top, subject]))
            below = naming_folders(top.relative_to(root.absolute()).parts, root.absolute())
            dataset = "/".join([*([self.dataset] if self.dataset else []), *below]) or whole
            sequence, reason = bids_sequence(named, suffix) if suffix in BIDS_SUFFIXES else (suffix, "")
            if reason:
                columns[NOTE] = "; ".join(filter(None, [columns.get(NOTE, ""), f"modality: {reason}"]))
            rows.keep(
                path,
                subject,
                sequence,
                session=session,
                group=f"{dataset}:{subject}",
                dataset=dataset,
                **columns | _entity_columns(named),
            )
        return rows.build()

    def _exclusion_reason(self, inside: Path, named: Mapping[str, str], suffix: str, root: Path) -> str:
        """Return why a scan is excluded, or `""`."""
        if not named.get("sub"):
            return "no sub-<label> in its name"
        if misplaced := _misplaced(inside, named):
            return misplaced
        if not self.derivatives and derivatives_at(inside.parts[:-1], root) is not None:
            return "derivative"
        if MASK_LIKE.search(suffix) or "label" in named:
            return "mask or segmentation, by its name"
        if suffix not in self.suffixes:
            return f"suffix {suffix} is not wanted"
        if part := complex_part(stem(inside)):
            return f"the {part} of the signal, not its magnitude"
        if "inv" in named and suffix in BIDS_SUFFIXES:
            return f"inversion image (inv-{named['inv']}), not a whole {suffix}"
        return "localizer or scout, by its name" if is_localizer(stem(inside)) else ""


def entities(path: Path) -> dict[str, str]:
    """Return the entities of a file name: {"sub": "01", "ses": "2"} for `sub-01_ses-2_T1w`."""
    return parse_entities(stem(path))


def _misplaced(inside: Path, named: Mapping[str, str]) -> str:
    """Return why the person or session in a scan's name may be wrong, by its folders, or `""`."""
    for key in ("sub", "ses"):
        folders = [name for name in inside.parts[:-1] if name.startswith(f"{key}-")]
        label = named.get(key, "")
        if folders and label and folders[-1] != f"{key}-{label}":
            return f"lies in {folders[-1]} and is named {key}-{label}"
    return ""


def _entity_columns(named: Mapping[str, str]) -> dict[str, str]:
    """Return the entities that distinguish scans of a session, as columns."""
    return {key: named.get(key, "") for key in _COLUMN_ENTITIES} | {
        key: named[key] for key in _OPTIONAL_ENTITIES if key in named
    }


def _described_folder(top: Path, root: Path) -> Path:
    """Return the folder with the tables: `top` or a parent, as for derivatives in a dataset."""
    for folder in (top, *top.parents):
        if (folder / "participants.tsv").is_file():
            return folder
        if folder == root.absolute():
            break
    return top


def _dataset_folder(path: Path, subject: str, root: Path) -> Path:
    """Return the folder that contains `sub-<label>/`, else `root`; a root may have datasets."""
    for folder in path.parents:
        if folder.name == f"sub-{subject}":
            return folder.parent.absolute()
        if folder == root:
            break
    return root.absolute()
