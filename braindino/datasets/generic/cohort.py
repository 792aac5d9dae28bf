"""Users' tables with labels, lists of BrainIAC and BrainDINO, nnU-Net folders, manifests."""

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from braindino.datasets.cells import is_gap
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.generic.bids_tables import apply_sidecar
from braindino.datasets.generic.labels import Task, class_labels, class_names, events, numbers, times
from braindino.datasets.generic.nnunet import index_nnunet, is_nnunet, nnunet_regions
from braindino.datasets.generic.persons import refuse_contradictions
from braindino.datasets.generic.rows import Columns, scans_of_rows
from braindino.datasets.generic.table import TABLE_SUFFIXES, find_column, read_user_table
from braindino.datasets.manifest import (
    COLUMNS,
    DROPPED_COLUMNS,
    LABELS,
    MASK,
    NOTE,
    Manifest,
    is_manifest,
    label_column,
)
from braindino.errors import DatasetError, TableError

_LISTS = re.compile(r"(train(_.*)?|valid|val|test)\.csv$")


class Cohort(ScanDataModule):
    """A user's scans and labels, in one of several forms.

    - A table (CSV, TSV, Excel) with a header. Columns are recognised by their usual names (`id`, `pat_id`,
      `subject`; `path`, `file`, `image`; `label`; `session`, `sex`, `age`, `site`), or named by the options.
      Without a column of paths, scans are searched by the id: `<id>.nii.gz`, or `<id>_t1ce.nii.gz`,
      `<id>_t2f.nii.gz`, ... (BrainIAC's `pat_id,label`), with a `scandate` `<id>_<scandate>.nii.gz` or
      `<id>/<scandate>.nii.gz`. If there is a JSON of the same name beside a TSV (`participants.json`), it
      gives the units of ages and the codes of sexes.
    - BrainDINO's `label,path` without a header: one list, or a folder with `train_<k>.csv` and `valid.csv`.
    - An nnU-Net folder (see `index_nnunet`).
    - A folder with one such table, or a manifest written by `braindino index`.

    Further columns of the table are in the manifest, too; one with the name of a standard column of manifests
    is called `<name>_in_table` there. The person is the column of the option `group`, else the part of the id
    that `person` matches, else the id; without an id every row is a person. A column `group` is not the
    person unless the option says so. Tables in which persons are ambiguous are rejected: two columns of ids
    that disagree, an id of two datasets, a person with two sexes or with ages ten years apart in one session.

    Args:
        root: the table, or the folder.
        store: folder of prepared scans.
        task: classification, regression, survival (targets: time, event), or segmentation (no target).
        target: column of the label, or `[time, event]`; `label` by default. `group` is the table's column of
            that name, not the person.
        classes: class 0 first; by default all labels, sorted. Words that also mean a missing label (`none`,
            `NA`, `unknown`) are classes only if they are listed here.
        regions: for segmentation, name -> labels in the masks: `{lesion: [1]}`; by default those of an
            nnU-Net folder.
        target_range: lowest and highest number that is allowed as a label or time.
        path: column of paths, or one per sequence: `{FLAIR: flair, T1w: t1}` (`mask` for segmentations).
        pattern: path composed of columns, such as `{id}/{session}/t1.nii.gz`; or one per sequence.
        scans: folder that paths and patterns are relative to; the table's folder by default.
        id: column of the case or person.
        group: column of the person, or columns that identify a person together, as `[site, id]`.
        person: regular expression that matches the person in the id (or path, or name of an nnU-Net case).
        session: column that distinguishes sessions of an id.
        modality: column of the sequence, or one name for all; by default recognised in the file names.
        sheet: sheet of an Excel file that has several.
        sex_codes: meaning of codes in the column of the sex, such as `{0: M, 1: F}`; words need none.
        modalities: sequences to use, in this order; by default all in the table.
        dataset: name of the dataset, the first part of persons' keys; by default that of the table or folder.
            Two tables of one name need different ones if scans of both are to be in one store.
        missing_files: `error`, or `drop` to drop rows whose file does not exist.
        **options: see `ScanDataModule`.
    """

    name = "cohort"

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        *,
        task: Task = "classification",
        target: str | list[str] | None = None,
        classes: list[str | int | float | bool | None] | None = None,
        regions: dict[str, list[int]] | None = None,
        target_range: tuple[float, float] | None = None,
        path: str | dict[str, str] | None = None,
        pattern: str | dict[str, str] | None = None,
        scans: Path | str | None = None,
        id: str | None = None,
        group: str | list[str] | None = None,
        person: str | None = None,
        session: str | None = None,
        modality: str | None = None,
        sheet: str | None = None,
        sex_codes: dict[str, str | None] | None = None,
        modalities: list[str] | None = None,
        dataset: str | None = None,
        missing_files: Literal["error", "drop"] = "error",
        **options: Any,
    ) -> None:
        super().__init__(root, store, **options)
        if path is not None and pattern is not None:
            raise DatasetError("data: `path` and `pattern` both give the scans' files; give one.")
        self.task, self.target_range = task, target_range
        self._given_target = [target] if isinstance(target, str) else target
        self._given_classes = classes
        self._given_regions = regions
        self._given_modalities = modalities
        self.dataset, self.sheet = dataset, sheet
        codes = {str(code): meaning or "" for code, meaning in (sex_codes or {}).items()}
        groups = [group] if isinstance(group, str) else group or []
        self.columns = Columns(
            path=path,
            pattern=pattern,
            scans=None if scans is None else Path(scans),
            id=id,
            group=tuple(groups),
            person=person,
            session=session,
            modality=modality,
            sex_codes=codes,
            drop_missing=missing_files == "drop",
        )

    @property
    def manifest(self) -> Manifest:
        """Return the rows of `root` that the task uses; indexed once, also if `root` is a manifest."""
        if self._manifest is None:
            self._manifest = self.choose(self.index(self.root))
        return self._manifest

    def setup(self, stage: str | None = None) -> None:
        """See `ScanDataModule.setup`; target and classes follow from the table."""
        _ = self.manifest
        super().setup(stage)

    def index(self, root: Path) -> Manifest:
        """Return the manifest of a table or folder; drop rows without a label, if there is a label.

        Raises:
            TableError: the table is wrong; the message has file, line, column and remedy.
            LayoutError: no scan of the table or folder can be used.
        """
        root = Path(root)
        if root.is_dir() and is_nnunet(root):
            name, origin = self.dataset or root.absolute().name, None if self.dataset else root
            manifest = index_nnunet(root, name, self.columns.person, origin)
            manifest.table.index = pd.Index([f"{path}, line 1" for path in manifest.table["path"]])
            return self._settle(manifest, root)
        files = _tables(root)
        if len(files) == 1 and is_manifest(files[0]):
            manifest = Manifest.read(files[0])
            manifest.table.index = pd.Index([f"{files[0]}, line {i + 2}" for i in range(len(manifest.table))])
            return self._settle(manifest, files[0])
        named = self.dataset or (files[0].stem if len(files) == 1 else root.absolute().name)
        tables = []
        for file in files:
            table = apply_sidecar(read_user_table(file, self.sheet), file)
            tables.append(table.assign(split=_part_of_list(file)) if len(files) > 1 else table)
        # train_1.csv, train_5.csv, ... contain the same rows and further ones.
        rows = pd.concat(tables).drop_duplicates() if len(files) > 1 else tables[0]
        origin = None
        if not self.dataset:
            origin = files[0] if len(files) == 1 else root
        return self._settle(scans_of_rows(rows, named, files[0].parent, self.columns, origin), files[0])

    def _settle(self, manifest: Manifest, file: Path) -> Manifest:
        """Check the labels, drop rows without one, and set target, classes and modalities."""
        table = manifest.table
        refuse_contradictions(table)
        sequences = sorted(set(table["modality"]) - {MASK})
        unknown = sorted(set(self._given_modalities or []) - set(sequences))
        if unknown:
            raise DatasetError(f"{file}: modalities: no {unknown[0]!r}; there are {', '.join(sequences)}.")
        self.modalities = tuple(self._given_modalities or sequences)  # type: ignore[misc]
        self.target = self._targets(table)  # type: ignore[misc]
        self.regions = self._regions(file)  # type: ignore[misc]
        names = self._class_names(table, file)
        gaps = table[list(self.target)].map(lambda cell: is_gap(cell, names or ()))
        blank = gaps.any(axis=1)
        if len(self.target) and blank.all():
            raise TableError(
                f"{file}: column {' and '.join(self.target)}: no row has a label.\n"
                "Fill labels in, or name another column with `target`."
            )
        self._refuse_one_class(table, blank, names)
        unlabelled = table.loc[blank & (table["modality"] != MASK)]
        unlabelled = unlabelled[["path", "subject"]].assign(
            reason=list(map(self._no_label, unlabelled.to_dict("records")))
        )
        table = self._labelled(table[~blank].copy(), names)
        if sequences and not set(self.modalities) & set(table["modality"]):
            raise TableError(
                f"{file}: no scan has both a label and a sequence of {', '.join(self.modalities)}.\n"
                "Change `modalities`, or label the scans of these sequences."
            )
        dropped = pd.concat([manifest.dropped, unlabelled[list(DROPPED_COLUMNS)]], ignore_index=True)
        return Manifest(table.reset_index(drop=True), dropped)

    def _targets(self, table: pd.DataFrame) -> tuple[str, ...]:
        """Return the manifest's columns of the label; none if no target is given and none is usual."""
        expected = {"survival": 2, "segmentation": 0}.get(self.task, 1)
        if self._given_target is None:
            usual = label_column(table, "label")
            return (usual,) if usual in table and expected == 1 else ()
        if len(self._given_target) != expected:
            wanted = ("no column: the mask is the label", "one column", "[time, event]")[expected]
            raise DatasetError(f"data: target {self._given_target}: {self.task} takes {wanted}.")
        labels = table[[column for column in table if column not in COLUMNS or column in LABELS]]
        names = [label_column(table, name) for name in self._given_target]
        return tuple(str(find_column(labels, name, (), "the target")) for name in names)

    def _regions(self, file: Path) -> dict[str, tuple[int, ...]]:
        """Return the given regions, else those of an nnU-Net folder; none for other tasks."""
        if self.task != "segmentation":
            return {}
        if self._given_regions is not None:
            return {name: tuple(labels) for name, labels in self._given_regions.items()}
        if file.is_dir():
            return nnunet_regions(file)
        raise DatasetError(
            "data: segmentation needs `regions`, the labels in the masks, such as {lesion: [1]}."
        )

    def _class_names(self, table: pd.DataFrame, file: Path) -> tuple[str, ...] | None:
        """Return the given classes as text, or None where they are to be inferred."""
        if self._given_classes is None or self.task != "classification" or not self.target:
            return None
        return class_names(table[self.target[0]], self._given_classes, file)

    def _refuse_one_class(self, table: pd.DataFrame, blank: pd.Series, names: Sequence[str] | None) -> None:
        """Raise TableError if one class remains and words that may be classes count as missing."""
        if self.task != "classification" or names is not None or not self.target:
            return
        cells = table[self.target[0]].astype(str).str.strip()
        words = sorted(set(cells[blank]) - {"", "nan"})
        if words and len(set(cells[~blank])) == 1:
            raise TableError(
                f"{table.index[list(blank).index(True)]}, column {self.target[0]!r}: contains the class "
                f"{cells[~blank].iloc[0]!r}, and {', '.join(map(repr, words))}, which count as missing.\n"
                "List all classes in `classes`."
            )

    def _no_label(self, row: dict[Hashable, Any]) -> str:
        """Return why a row has no label, with the word that counts as a gap, if there is one."""
        reason = f"no {' and '.join(self.target)} in the table"
        words = [word for column in self.target if (word := str(row[column])) not in ("", "nan")]
        if "age" in self.target and row.get(NOTE):
            return f"{reason}: {row[NOTE]}"
        if not words or self.task != "classification":
            return reason
        return f"{reason}: {words[0]!r} counts as missing unless `classes` lists it"

    def _labelled(self, table: pd.DataFrame, names: tuple[str, ...] | None) -> pd.DataFrame:
        """Return the table with checked labels, and set the classes."""
        between = None if self.target_range is None else (self.target_range[0], self.target_range[1])
        if not self.target:
            return table
        if self.task == "survival":
            time, event = self.target
            table[time], table[event] = times(table[time], between), events(table[event])
        elif self.task == "regression":
            table[self.target[0]] = numbers(table[self.target[0]], between)
        else:
            column = self.target[0]
            table[column], self.classes = class_labels(table[column], names)  # type: ignore[misc]
        return table


def _part_of_list(file: Path) -> str:
    """Return the part of the split that a list of BrainDINO has, by its name."""
    if file.stem.startswith("train"):
        return "train"
    return "test" if file.stem == "test" else "val"


def _tables(root: Path) -> list[Path]:
    """Return the table itself, the lists of a BrainDINO folder, or the only table of a folder.

    Raises:
        TableError: there is no table, or there are several.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise TableError(f"{root}: no such table or folder.")
    tables = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in TABLE_SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith(".dropped.csv")
    ]
    lists = [path for path in tables if _LISTS.match(path.name)]
    if any(path.name.startswith("train") for path in lists):
        return lists
    if len(tables) == 1:
        return tables
    listed = ", ".join(path.name for path in tables[:4])
    content = f"{len(tables)} tables ({listed})" if tables else "none"
    raise TableError(
        f"{root}: expected one table of the cohort here, found {content}.\n"
        "Give the table itself; for scans without a table use `--dataset folder`."
    )
