"""Base of every labelled dataset: from its native folder to batches of whole cases, split by person."""

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
    """Index, prepare, split, load. A dataset is a subclass that fills the class attributes and `index`.

    A case is what a label belongs to: a subject's session with one scan per modality. After `setup`:

    - `cases`: DataFrame, one row per case: `case` (unique name), `dataset`, `group` (the person), `split`,
      the target, `site`, `sex`, `age` (years), `key_<modality>` (key in the store, `""` when missing), `mask`
      (path or `""`) and the manifest's further columns. One target: column `target` (class number, or a
      number). Several (a survival time and event): columns by their own names. With `folds`: column `fold`.
    - `dropped`: DataFrame path, subject, reason: what is not in `cases`, rejected scans included.

    Attributes:
        name: on the command line.
        target: manifest column(s) that hold the label. Empty: the mask is the label if there are `regions`,
            else there is none and the dataset serves pretraining only.
        classes: names as the manifest has them, class 0 first; empty for numbers.
        modalities: scans of a case, in the order of the batch.
        stratify: manifest columns besides the target that a split is balanced over.
        regions: what a mask shows: name -> the labels (after `mask_rule`) that make it up.
        option: where it stands in a config, for messages.
    """

    name: str
    target: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[tuple[str, ...]] = ()
    modalities: ClassVar[tuple[str, ...]] = ("T1w",)
    stratify: ClassVar[tuple[str, ...]] = ()
    regions: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    option: str = "data"

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
        """Nothing is read yet.

        Args:
            root: the dataset's folder as its owners give it, or the manifest `braindino index` made of it.
            store: folder of prepared scans; scans that are not in it yet are added.
            fractions: of people for train, val, test.
            split_seed: another seed gives another split.
            folds: cross-validation instead of fractions: test is one fold, val the one after it. A probe
                tests every fold in turn, unless one is chosen.
            fold: the one fold to test, from 0; where there must be one and none is given, the first.
            split_file: table with the columns `case` or `group`, and `split`; instead of fractions.
            batch_size: cases per batch.
            num_workers: processes that load batches.
            jobs: processes that prepare scans.
            strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`; one that only the store
                names is not run.
            ignore_labels: numbers in masks that no region names and that count as background; any other
                number that no region names is refused.
            prepare: make the store, by the encoder's contract, if it does not exist.
        """
        super().__init__()
        if folds is None and fold is not None:
            raise DatasetError("data.fold: says which of `folds` is tested; give data.folds as well.")
        if folds is not None and split_file is not None:
            raise DatasetError("data: `folds` and `split_file` both say how people are split; give one.")
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
        """The manifest of the dataset's native layout; nothing is read but names and tables."""
        raise NotImplementedError(f"{type(self).__name__} must say how its folder is indexed")

    def use_modalities(self, asked: Sequence[str] | None, known: Sequence[str]) -> None:
        """Take the scans `asked` for (nothing: the class's own) out of those a case may have."""
        unknown = [name for name in asked or () if name not in known]
        if unknown or (asked is not None and not asked):
            raise DatasetError(f"data.modalities: {list(asked or ())}; expected some of {', '.join(known)}.")
        self.modalities = tuple(asked or self.modalities)  # type: ignore[misc]

    def use_contract(self, contract: Preprocessing) -> None:
        """Prepare by the encoder's contract. `prepare_data` refuses a store prepared otherwise."""
        self.contract = contract

    @property
    def manifest(self) -> Manifest:
        """Read from `root` when it is a CSV, else indexed; then what of it the task uses; once."""
        if self._manifest is None:
            whole = Manifest.read(self.root) if self.root.is_file() else self.index(self.root)
            self._manifest = self.choose(whole)
            self._manifest.passed_over = whole.passed_over
        return self._manifest

    def choose(self, manifest: Manifest) -> Manifest:
        """Return the scans of a manifest that serve the task; the others join `dropped`, with a reason."""
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
        """Why a row of the manifest does not serve the task that the options ask for, or nothing."""
        blank = [column for column in self.target if column in scan and is_gap(scan[column], self.classes)]
        return f"no {blank[0]}" if blank else ""

    def check_store(self) -> None:
        """Raise DatasetError if the store does not exist and was not asked for with `prepare`."""
        if not self.prepare and not (self.store_path / "contract.json").exists():
            remedy = f"`--{self.option}.prepare true` makes it by the encoder's contract"
            raise DatasetError(no_store(self.store_path, remedy))

    def prepare_data(self) -> None:
        """Index, put into the store what it does not hold yet, check the masks (one process per machine)."""
        self.check_store()  # first: to index may take long
        table, store = self.manifest.table, self._open_store()
        fill(store, table[table["modality"].isin(self.modalities)], jobs=self.jobs)
        check_masks(store, table)

    def setup(self, stage: str | None = None) -> None:
        """Make `cases` and `dropped` and split by person.

        Raises:
            DatasetError: no labels, an unknown label, or no scan left.
            SplitError: see `splits`.
        """
        if not self.target and not self.regions:
            raise DatasetError(
                f"the dataset {self.name!r} has no labels: it serves pretraining.\n"
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
        """Number of cases per class, for people to read; empty unless the target is a class."""
        if not self.classes:
            return {}
        found = manifest.table.drop_duplicates(list(IDENTITY))[self.target[0]].value_counts()
        return {name: int(found.get(name, 0)) for name in self.classes}

    def train_dataloader(self) -> "DataLoader[Any]":
        """Training cases, shuffled."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> "DataLoader[Any]":
        """Validation cases, in the order of `cases`."""
        return self._loader("val")

    def test_dataloader(self) -> "DataLoader[Any]":
        """Test cases, in the order of `cases`."""
        return self._loader("test")

    @staticmethod
    @stable_id("mask_rule")
    def mask_rule(values: np.ndarray) -> np.ndarray:
        """The numbers in a mask file as labels, uint8; a dataset may name another of `datasets.masks`."""
        return whole_labels(values)

    def labels_of(self, case: int) -> Scan:
        """A case's mask as it was drawn, in the scan's own space; its data are labels by the `mask_rule`.

        Args:
            case: row label of `cases`, as a batch has it.

        Raises:
            DatasetError: the case has no mask.
            ScanError: the mask cannot be read, or holds what is no label.
        """
        row = self.cases.loc[case]
        if not row[MASK]:
            raise DatasetError(f"case {row['case']}: has no mask.")
        scan = read_scan(str(row[MASK]))
        try:
            labels = self.mask_rule(scan.data)
        except ValueError as error:
            raise ScanError(scan.path, f"the mask {error}") from None
        return replace(scan, data=labels.astype(np.float32))

    def mask_of(self, case: int, drawn: Scan | None = None) -> np.ndarray:
        """A case's mask on the store's grid, (D, H, W) uint8; see `labels_of`.

        Args:
            case: row label of `cases`.
            drawn: what `labels_of` gives for it, if that is at hand.

        Raises:
            ScanError: also where the mask was not drawn on this scan.
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
                f"{self.root}: none of {len(table)} scans can be used.\nWhy: {listed or 'unknown'}{more}."
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
                f"{self.root}: column {self.target[0]!r} holds {str(labels[numbers.isna()].iloc[0])!r}, "
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
        """What a split (and a label fraction) is balanced over: the class, or the quintile of a number.

        Several targets count as (time, event): both the event and the tercile of the time. Where the mask is
        the label there is nothing to balance.
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
