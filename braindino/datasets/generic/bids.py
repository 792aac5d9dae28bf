"""Any BIDS dataset: anatomical scans by their entities, people and sessions by its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindino.datasets import sequences
from braindino.datasets.bids_ignore import derivatives_at
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.discovery import MASK_LIKE, find_scans, naming_folders, no_scan_error, stem
from braindino.datasets.generic.bids_tables import People
from braindino.datasets.manifest import NOTE, Manifest, ManifestBuilder
from braindino.datasets.sequences import BIDS_SUFFIXES, bids_sequence, complex_part, is_localizer

SUFFIXES = BIDS_SUFFIXES
_KEPT = ("acq", "run")  # entities that every manifest has a column for; others where a scan has them
_FURTHER = ("ce", "rec", "echo", "chunk", "space", "desc")


class BIDS(ScanDataModule):
    """Anatomical scans of a BIDS dataset (`sub-X[/ses-Y]/anat/..._<suffix>.nii.gz`); no labels of its own.

    The sequence follows from suffix and entities: `ce-gadolinium_T1w` is T1c; phase images (`part-`),
    inversion images (`inv-`) and localizers are dropped. Sex, age in years and all further columns come from
    `participants.tsv`, `sub-X_sessions.tsv` and their sidecars (units, codes); a column that is called as a
    standard column of manifests gets `_in_table` after its name. `blank_because` says why an age or sex is
    blank although the tables have something.

    `sourcedata/`, `code/` and what `.bidsignore` names are passed over. The dataset's name is that of the
    folder that holds its subjects, below the root with the folders above it (`siteA`, `europe/siteA`), less
    such as `rawdata` that name none; a person is a subject of a dataset.

    Args:
        root: the dataset's folder (a folder of several is fine), or a manifest.
        store: folder of prepared scans.
        suffixes: which scans to take, as BIDS calls them.
        derivatives: whether to take what lies in folders called `derivatives`, or in datasets of derivatives
            (by their `dataset_description.json`).
        same_age: whether the age in `participants.tsv` is that of every session, not of the first only.
        dataset: name of the dataset, which persons' keys begin with; the folder's by default.
        **options: see `ScanDataModule`.
    """

    name = "bids"

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        suffixes: tuple[str, ...] = tuple(SUFFIXES),
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
        """Manifest of the scans under `root`."""
        whole = self.dataset or root.absolute().name or "bids"
        rows = ManifestBuilder(whole, None if self.dataset else root)
        scans: list[tuple[Path, dict[str, str], str]] = []
        sessions: dict[tuple[Path, str], set[str]] = {}
        for path in find_scans(root, rows):
            named, suffix = entities(path), stem(path).rpartition("_")[2]
            reason = self._unwanted(path.relative_to(root), named, suffix, root)
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
            sequence, reason = bids_sequence(named, suffix) if suffix in SUFFIXES else (suffix, "")
            if reason:
                columns[NOTE] = "; ".join(filter(None, [columns.get(NOTE, ""), f"modality: {reason}"]))
            rows.keep(
                path, subject, sequence, session=session, group=f"{dataset}:{subject}", dataset=dataset,
                **columns | _entity_columns(named),
            )  # fmt: skip
        return rows.build()

    def _unwanted(self, inside: Path, named: Mapping[str, str], suffix: str, root: Path) -> str:
        """Return why a scan is not taken, or `""`."""
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
        if "inv" in named and suffix in SUFFIXES:
            return f"inversion image (inv-{named['inv']}), not a whole {suffix}"
        return "localizer or scout, by its name" if is_localizer(stem(inside)) else ""


def entities(path: Path) -> dict[str, str]:
    """Return the entities of a BIDS file name: `sub-01_ses-2_T1w` gives {"sub": "01", "ses": "2"}."""
    return sequences.entities(stem(path))


def _misplaced(inside: Path, named: Mapping[str, str]) -> str:
    """Return why a scan may be another person's or session's than its name tells, or `""`."""
    for key in ("sub", "ses"):
        folders = [name for name in inside.parts[:-1] if name.startswith(f"{key}-")]
        label = named.get(key, "")
        if folders and label and folders[-1] != f"{key}-{label}":
            return f"lies in {folders[-1]} and is named {key}-{label}"
    return ""


def _entity_columns(named: Mapping[str, str]) -> dict[str, str]:
    """Return the entities that tell scans of a session apart, as columns."""
    return {key: named.get(key, "") for key in _KEPT} | {key: named[key] for key in _FURTHER if key in named}


def _described_folder(top: Path, root: Path) -> Path:
    """Return the folder with the tables: `top`, or one it lies in, as derivatives lie in their dataset."""
    for folder in (top, *top.parents):
        if (folder / "participants.tsv").is_file():
            return folder
        if folder == root.absolute():
            break
    return top


def _dataset_folder(path: Path, subject: str, root: Path) -> Path:
    """Return the folder that holds `sub-<label>/`, else `root`: a corpus may be a folder of datasets."""
    for folder in path.parents:
        if folder.name == f"sub-{subject}":
            return folder.parent.absolute()
        if folder == root:
            break
    return root.absolute()
