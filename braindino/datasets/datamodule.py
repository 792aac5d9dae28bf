"""Base class of labelled datasets: index, prepare, split by person, load whole cases."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from braindino.datasets.base import DataModule
from braindino.datasets.cells import is_gap
from braindino.datasets.checks.masks import check_masks
from braindino.datasets.manifest import IDENTITY, MASK, Manifest
from braindino.datasets.masks import whole_labels
from braindino.datasets.splits import bins, kfold_people, parts_of_fold, read_split, split_people
from braindino.errors import DatasetError, ScanError
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import mask_to_grid
from braindino.scans.reading import Scan, read_scan
from braindino.scans.store.fill import fill
from braindino.scans.store.paths import no_store
from braindino.scans.store.store import Store

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

MAX_REASONS = 4  # in a message


class ScanDataModule(DataModule):
    """Index, prepare, split and load a dataset.

    Subclasses set the class attributes and define `index`.

    A case is a subject's session with one scan per modality and one label. After `setup`:

    - `cases`: DataFrame, one row per case: `case` (unique name), `dataset`, `group` (the person), `split`,
      the target, `site`, `sex`, `age` (years), `key_<modality>` (key in the store, `""` when missing), `mask`
      (path or `""`) and the manifest's further columns. One target: column `target` (class number, or a
      number). Several (a survival time and event): columns by their own names. With `folds`: column `fold`.
    - `dropped`: DataFrame path, subject, reason: scans that are not in `cases`, rejected ones included.

    Attributes:
        name: on the command line.
        target: manifest column(s) of the label. If empty, the mask is the label if there are `regions`, else
            there is no label and the dataset is for pretraining only.
        classes: names as the manifest has them, class 0 first; empty for numbers.
        modalities: scans of a case, in the order of the batch.
        stratify: manifest columns besides the target that a split is balanced over.
        regions: regions of a mask: name -> the labels (after `mask_rule`) that it consists of.
        option: place in a config, for messages.
    """

    name: str
    target: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[tuple[str, ...]] = ()
    modalities: ClassVar[tuple[str, ...]] = ("T1w",)
    stratify: ClassVar[tuple[str, ...]] = ()
    regions: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    option: str = "data"

    def __init_subclass__(cls, **options: Any) -> None:
        """Accept `left_out`, the former name of `exclusion_reason`, in datasets of users."""
        super().__init_subclass__(**options)
        former = vars(cls).get("left_out")
        if former is not None and "exclusion_reason" not in vars(cls):
            cls.exclusion_reason = former  # type: ignore[method-assign]

    def __init__(
        self,
        root: Path | str,
        store: Path | str = "store",
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
        folds: int | None = None,
        fold: int | None = None,
        split_file: Path | str | None = None,
        batch_size: int = 4,
        num_workers: int = 0,
        jobs: int = 1,
        strip_cmd: str | None = None,
        ignore_labels: list[int] | None = None,
        prepare: bool = False,
    ) -> None:
        """Store the options; nothing is read.

        Args:
            root: the dataset's folder as published, or its manifest from `braindino index`.
            store: folder of prepared scans; missing scans are added.
            fractions: fractions of people for train, val, test.
            split_seed: another seed gives another split.
            folds: cross-validation instead of fractions: test is one fold, val the one after it. A probe
                tests every fold in turn, unless one is chosen.
            fold: the one fold to test, from 0; if one is required and none is given, the first.
            split_file: table with the columns `case` or `group`, and `split`; instead of fractions.
            batch_size: cases per batch.
            num_workers: processes that load batches.
            jobs: processes that prepare scans.
            strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`; a command that is recorded
                in the store only is not run.
            ignore_labels: numbers in masks that no region lists and that count as background; any other
                number that no region lists is an error.
            prepare: make the store by the encoder's contract if it does not exist.
        """
        super().__init__()
        if folds is None and fold is not None:
            raise DatasetError("data.fold: chooses one of `folds` to test; give data.folds as well.")
        if folds is not None and split_file is not None:
            raise DatasetError("data: `folds` and `split_file` both define the split; give one.")
        self.root, self.store_path = Path(root), Path(store)
        self.fractions, self.split_seed, self.folds, self.fold = tuple(fractions), split_seed, folds, fold
        self.split_file = None if split_file is None else Path(split_file)
        self.batch_size, self.num_workers, self.jobs = batch_size, num_workers, jobs
        self.strip_cmd = strip_cmd
        self.ignore_labels = tuple(ignore_labels or ())
        self.prepare = prepare
        self.contract: Preprocessing | None = None
        self._manifest: Manifest | None = None

    def index(self, root: Path) -> Manifest:
        """Return the manifest of the dataset's native layout, from file names and tables only.

        Args:
            root: the dataset's folder.
        """
        raise NotImplementedError(f"{type(self).__name__} must define index")

    def use_modalities(self, requested: Sequence[str] | None, available: Sequence[str]) -> None:
        """Set the scans of a case.

        Args:
            requested: modalities; None keeps those of the class.
            available: modalities that a case may have.

        Raises:
            DatasetError: no modality, or one that is not available.
        """
        unknown = [name for name in requested or () if name not in available]
        if unknown or (requested is not None and not requested):
            listed = ", ".join(available)
            raise DatasetError(f"data.modalities: {list(requested or ())}; expected some of {listed}.")
        self.modalities = tuple(requested or self.modalities)  # type: ignore[misc]

    def use_contract(self, contract: Preprocessing) -> None:
        """Prepare by this contract; `prepare_data` refuses a store with a different one."""
        self.contract = contract

    @property
    def manifest(self) -> Manifest:
        """Return the scans for the task, from `root` if it is a CSV, else by `index`; read once."""
        if self._manifest is None:
            whole = Manifest.read(self.root) if self.root.is_file() else self.index(self.root)
            self._manifest = self.choose(whole)
            self._manifest.passed_over = whole.passed_over
        return self._manifest

    def choose(self, manifest: Manifest) -> Manifest:
        """Return the scans of a manifest for the task; other scans join `dropped`, with a reason.

        Args:
            manifest: all scans.
        """
        scans = manifest.table.to_dict("records")
        reasons = [
            self.exclusion_reason({str(column): cell for column, cell in scan.items()}) for scan in scans
        ]
        if self.regions and not self.target:
            cases = [tuple(scan[column] for column in IDENTITY) for scan in scans]
            outlined = {case for case, scan in zip(cases, scans, strict=True) if scan["modality"] == MASK}
            reasons = [
                reason or ("" if case in outlined else "no mask")
                for reason, case in zip(reasons, cases, strict=True)
            ]
        return manifest.without(reasons)

    def exclusion_reason(self, scan: dict[str, Any]) -> str:
        """Return why a row of the manifest does not serve the task, or `""`.

        Args:
            scan: a row of the manifest, column -> cell.
        """
        blank = [column for column in self.target if column in scan and is_gap(scan[column], self.classes)]
        return f"no {blank[0]}" if blank else ""

    def check_store(self) -> None:
        """Raise DatasetError if the store does not exist and `prepare` is False."""
        if not self.prepare and not (self.store_path / "contract.json").exists():
            remedy = f"`--{self.option}.prepare true` makes it by the encoder's contract"
            raise DatasetError(no_store(self.store_path, remedy))

    def prepare_data(self) -> None:
        """Index, prepare missing scans and check the masks; runs in one process per machine."""
        # First, because indexing may take long.
        self.check_store()
        table, store = self.manifest.table, self._open_store()
        fill(store, table[table["modality"].isin(self.modalities)], jobs=self.jobs)
        check_masks(store, table)

    def setup(self, stage: str | None = None) -> None:
        """Make `cases` and `dropped` and split by person.

        Args:
            stage: ignored; every stage needs the same.

        Raises:
            DatasetError: no labels, an unknown label, or no usable scan.
            SplitError: see `splits`.
        """
        if not self.target and not self.regions:
            raise DatasetError(
                f"the dataset {self.name!r} has no labels: it is for pretraining only.\n"
                "Give a labelled dataset, or add a label column to the manifest and use `cohort`."
            )
        self.store = self._open_store()
        self.cases, self.dropped = self._make_cases(self.manifest)
        if self.folds is None:
            self.cases["split"] = self._split(self.cases)
        else:
            self.cases["fold"] = self._fold(self.cases, self.folds)
            self.cases["split"] = parts_of_fold(self.cases["fold"], self.fold or 0, self.folds)

    def label_counts(self, manifest: Manifest) -> dict[str, int]:
        """Return the number of cases per class, for display; empty unless the target is a class.

        Args:
            manifest: the scans.
        """
        if not self.classes:
            return {}
        counts = manifest.table.drop_duplicates(list(IDENTITY))[self.target[0]].value_counts()
        return {name: int(counts.get(name, 0)) for name in self.classes}

    def train_dataloader(self) -> "DataLoader[Any]":
        """Return the loader of training cases, shuffled."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> "DataLoader[Any]":
        """Return the loader of validation cases, in the order of `cases`."""
        return self._loader("val")

    def test_dataloader(self) -> "DataLoader[Any]":
        """Return the loader of test cases, in the order of `cases`."""
        return self._loader("test")

    @staticmethod
    @stable_id("mask_rule")
    def mask_rule(values: np.ndarray) -> np.ndarray:
        """Return the values of a mask file as uint8 labels; subclasses may use another rule."""
        return whole_labels(values)

    def labels_of(self, case: int) -> Scan:
        """Return a case's mask in native space, with labels by the `mask_rule`.

        Args:
            case: row label of `cases`, such as `case` of a batch.

        Raises:
            DatasetError: the case has no mask.
            ScanError: the mask cannot be read, or has a value that is no label.
        """
        row = self.cases.loc[case]
        if not row[MASK]:
            raise DatasetError(
                f"case {row['case']}: has no mask; add one to the manifest, or exclude the case."
            )
        scan = read_scan(str(row[MASK]))
        try:
            labels = self.mask_rule(scan.data)
        except ValueError as error:
            raise ScanError(scan.path, f"the mask {error}") from None
        return replace(scan, data=labels.astype(np.float32))

    def mask_of(self, case: int, drawn: Scan | None = None) -> np.ndarray:
        """Return a case's mask on the store grid, (D, H, W) uint8.

        Args:
            case: row label of `cases`.
            drawn: the case's result of `labels_of`, if it has been read.

        Raises:
            DatasetError: the case has no mask.
            ScanError: the mask cannot be read, or its grid is not that of the scan.
        """
        labels = self.labels_of(case) if drawn is None else drawn
        row = self.cases.loc[case]
        key = next(key for name in self.modalities if (key := row[f"key_{name}"]))
        return mask_to_grid(labels, self.store.geometry(key)).astype(np.uint8)

    def _open_store(self) -> Store:
        self.check_store()
        if (self.store_path / "contract.json").exists():
            present = Store.open(self.store_path)
            return Store.create(self.store_path, self.contract or present.contract, self.strip_cmd)
        return Store.create(self.store_path, self.contract or Preprocessing(), self.strip_cmd)

    def _make_cases(self, manifest: Manifest) -> tuple[pd.DataFrame, pd.DataFrame]:
        from braindino.datasets.cases import case_table

        table = manifest.table
        absent = [column for column in self.target if column not in table]
        if absent:
            raise DatasetError(
                f"{self.root}: no label column {absent[0]!r}; "
                f"found {', '.join(manifest.label_columns) or 'none'}."
            )
        cases, dropped = case_table(
            manifest, self.store, self.modalities, needs_mask=bool(self.regions) and not self.target
        )
        if cases.empty:
            counts = dropped["reason"].value_counts()
            listed = "; ".join(f"{count} x {reason}" for reason, count in list(counts.items())[:MAX_REASONS])
            more = f"; {len(counts) - MAX_REASONS} more reasons" if len(counts) > MAX_REASONS else ""
            raise DatasetError(
                f"{self.root}: none of {len(table)} scans can be used.\nReasons: {listed or 'unknown'}{more}."
                f" See {self.store_path / 'rejects.csv'} for each file."
            )
        if self.classes:
            cases["target"] = self._class_numbers(cases[self.target[0]])
        elif len(self.target) == 1:
            cases["target"] = cases[self.target[0]].astype(float)
        return cases, dropped

    def _class_numbers(self, labels: pd.Series) -> pd.Series:
        numbers = labels.astype(str).map({name: i for i, name in enumerate(self.classes)})
        if numbers.isna().any():
            raise DatasetError(
                f"{self.root}: column {self.target[0]!r} has {str(labels[numbers.isna()].iloc[0])!r}, "
                f"which is none of {', '.join(self.classes)}."
            )
        return numbers.astype(int)

    def _split(self, cases: pd.DataFrame) -> pd.Series:
        if self.split_file is not None:
            return read_split(self.split_file, cases)
        strata, by = self._strata_of_people(cases)
        return split_people(strata, self.fractions, by, self.split_seed, bool(self.classes))

    def _fold(self, cases: pd.DataFrame, folds: int) -> pd.Series:
        if self.fold is not None and not 0 <= self.fold < folds:
            raise DatasetError(f"fold {self.fold}: give a number from 0 to {folds - 1}.")
        strata, by = self._strata_of_people(cases)
        return kfold_people(strata, folds, by, self.split_seed, bool(self.classes))

    def _strata_of_people(self, cases: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        strata = pd.DataFrame({"group": cases["group"], "class": self.strata(cases)})
        for column in self.stratify:
            strata[column] = cases[column]
        return strata, ["class", *self.stratify]

    def strata(self, cases: pd.DataFrame) -> pd.Series:
        """Return the strata that splits and label fractions are balanced over.

        The stratum is the class, or the quintile of a number. Two targets are (time, event), with event and
        tercile of the time as the stratum. If the mask is the label, all cases are one stratum.

        Args:
            cases: the cases that `setup` made.
        """
        if self.classes:
            return cases["target"].astype(int)
        if not self.target:
            return pd.Series(0, index=cases.index)
        if len(self.target) == 1:
            return bins(cases["target"], 5)
        time, event = (cases[column] for column in self.target)
        return event.astype(int).astype(str) + "/" + bins(time, 3).astype(str)

    def _loader(self, split: str, shuffle: bool = False) -> "DataLoader[Any]":
        from braindino.datasets.cases import CaseDataset, collate
        from braindino.datasets.loading import Loader, worker_options

        chosen = self.cases[self.cases["split"] == split]
        dataset = CaseDataset(self.store, chosen, self.modalities, self.target, bool(self.classes))
        return Loader(
            dataset, self.batch_size, shuffle=shuffle, collate_fn=collate, **worker_options(self.num_workers)
        )
