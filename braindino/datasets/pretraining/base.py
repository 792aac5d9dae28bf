"""Base classes for unlabelled data drawn at random from a store, resumable at any sample."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from braindino.datasets.loading import Loader, worker_options
from braindino.datasets.pretraining.exclude import find_excluded, refuse_no_match
from braindino.datasets.pretraining.sampling import ScanOrder
from braindino.datasets.splits import split_people
from braindino.errors import BraindinoError
from braindino.files import digest_of_json
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen
from braindino.scans.store.store import Store


class DrawnDataModule(LightningDataModule):
    """Batches drawn for self-supervised training; subclasses define the part of a scan to load.

    Every draw, of the scan (by a new permutation of the scans per pass) and of the part of it, is a pure
    function of the seed and the global number of the sample. It depends on neither workers nor restarts nor
    the number of GPUs. Rank r of W takes every W-th sample. A checkpoint contains the number of samples
    consumed; training continues with the next one, in the middle of an epoch too.

    After `setup`: `scans` (DataFrame of the scans or cases to draw from, with a column `split`).
    """

    def __init__(
        self,
        store: Path | str,
        batch_size: int = 64,
        num_workers: int = 2,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        exclude: Path | str | None = None,
        dataset_weights: dict[str, float] | None = None,
        val_fraction: float = 0.0,
    ) -> None:
        """Store the options; nothing is read.

        Args:
            store: folder of prepared scans (`braindino prepare`).
            batch_size: samples per batch and process.
            num_workers: processes that load batches.
            seed: seed of the draws, and of the choice of people for validation.
            steps_per_epoch: batches per epoch; by default enough to draw each scan once.
            exclude: people to exclude, such as the test people of downstream tasks: the cases.csv of a probe,
                a manifest or table with paths, or people (`<dataset>:<subject>`) one per line. People match
                by these keys and by the content of their scans; a list without a match is an error.
            dataset_weights: relative frequency at which scans of a dataset are drawn, 1 by default; 0
                excludes the dataset.
            val_fraction: fraction of people for validation; their samples are the same in every epoch.
        """
        super().__init__()
        if batch_size < 1 or (steps_per_epoch is not None and steps_per_epoch < 1):
            raise BraindinoError("data: batch_size and steps_per_epoch must be at least 1.")
        if seed < 0:
            raise BraindinoError(f"data: seed {seed}: must not be negative.")
        if not 0 <= val_fraction < 1:
            raise BraindinoError(f"data: val_fraction {val_fraction}: must be from 0 to below 1.")
        self.store_path, self.seed = Path(store), seed
        self.batch_size, self.num_workers = batch_size, num_workers
        self._steps_per_epoch, self.val_fraction = steps_per_epoch, val_fraction
        self.exclude = None if exclude is None else Path(exclude)
        self.dataset_weights = dict(dataset_weights or {})
        self.samples = 0  # consumed by all ranks together
        self.batches = 0  # consumed by each rank
        self._scans_when_saved = ""
        self._seen: Seen | None = None
        self.scans = pd.DataFrame()

    def setup(self, stage: str | None = None) -> None:
        """Read the store's index, remove excluded people, and split off people for validation.

        Args:
            stage: "validate" requires `val_fraction`.

        Raises:
            BraindinoError: no store, no scan to draw from, an unknown dataset among the weights, or no people
                for validation.
        """
        if stage == "validate" and not self.val_fraction:
            raise BraindinoError(
                "data: no people are set aside for validation; give --data.val_fraction, such as 0.05."
            )
        self.store = Store.open(self.store_path)
        index = self.store.index()
        scans = index.drop_duplicates("key", ignore_index=True)
        if scans.empty:
            raise BraindinoError(f"{self.store_path}: the store is empty; fill it with `braindino prepare`.")
        self._check_weights(scans)
        if self.exclude is not None:
            # A copy of a scan may be in the store under another name.
            scans = scans[~scans["key"].isin(index.loc[self._excluded(self.exclude, index), "key"])]
        scans = self.drawn_from(scans)
        weight = scans["dataset"].map(self.dataset_weights).fillna(1.0).astype(float)
        scans = scans.assign(weight=weight, split="train")[weight > 0].reset_index(drop=True)
        if scans.empty:
            raise BraindinoError(f"{self.store_path}: no scan is left; see exclude and dataset_weights.")
        if self.val_fraction:
            fractions = (1 - self.val_fraction, self.val_fraction, 0.0)
            scans["split"] = split_people(scans[["group"]], fractions, seed=self.seed)
            if set(scans["split"]) != {"train", "val"}:
                raise BraindinoError(
                    f"data: val_fraction {self.val_fraction} of {scans['group'].nunique()} people leaves "
                    "training or validation without people; give another fraction."
                )
        self.scans, self._seen = scans, None
        self._compare_with_checkpoint()

    def _excluded(self, file: Path, scans: pd.DataFrame) -> pd.Series:
        """Return per scan whether its person is excluded; print the counts."""
        digests = self.store.digests(scans["key"])
        exclusion = find_excluded(file, scans, [digests[key] for key in scans["key"]])
        refuse_no_match(file, exclusion, scans, self.store_path)
        people = scans.loc[exclusion.rows, "group"].nunique()
        line = f"{file}: excludes {int(exclusion.rows.sum())} scans of {people} people"
        if exclusion.by_content:
            line += f", {exclusion.by_content} of them by the content of their scans only"
        if exclusion.unmatched:
            first, count = exclusion.unmatched[0], len(exclusion.unmatched)
            line += f"; {count} of {exclusion.entries} entries match no scan, the first is {first!r}"
        rank_zero_only(print)(line, flush=True)
        return exclusion.rows

    @property
    def contract(self) -> Preprocessing:
        """Return the contract by which the store's scans were prepared."""
        return Store.open(self.store_path).contract

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches per epoch."""
        if self._steps_per_epoch is not None:
            return self._steps_per_epoch
        return max(1, int((self.scans["split"] == "train").sum()) // (self.batch_size * self._world()[1]))

    def people(self) -> pd.DataFrame:
        """Return the people who are trained on, a DataFrame with dataset and group."""
        trained = self.scans.loc[self.scans["split"] == "train", ["dataset", "group"]]
        return trained.drop_duplicates().sort_values(["dataset", "group"], ignore_index=True)

    def trained_on(self) -> Seen:
        """Return the people and scans that are trained on; they are recorded in every checkpoint."""
        if self._seen is None:
            train = self.scans[self.scans["split"] == "train"]
            keys = sorted({key for joined in train["key"] for key in str(joined).split(" ") if key})
            digests = self.store.digests(keys)
            lacking = sum(not names for names in digests.values())
            gaps = (f"the content of {lacking} scans is not recorded in the store",) if lacking else ()
            scans = frozenset(name for names in digests.values() for name in names)
            index = self.store.index()
            people = {*train["group"], *index.loc[index["key"].isin(keys), "group"]}
            self._seen = Seen(frozenset(map(str, people)), scans, gaps)
        return self._seen

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of `steps_per_epoch` batches, fewer in an epoch that is continued."""
        rank, world = self._world()
        dataset = self.batches_of("train", rank, world)
        return _CountingLoader(self, dataset, _RemainingStarts(self, rank, world), self._options())

    def val_dataloader(self) -> Iterable[Any]:
        """Return one fixed sample of every validation scan; empty without `val_fraction`."""
        return self._fixed("val") if self.val_fraction else _NoBatches()

    def test_dataloader(self) -> Iterable[Any]:
        """Return one fixed sample of every scan in use."""
        return self._fixed("all")

    def _fixed(self, split: str) -> DataLoader[Any]:
        rank, world = self._world()
        dataset = self.batches_of(split, rank, world)
        # All ranks have the same number of batches, because DDP needs equal numbers of collective calls.
        steps = -(-len(dataset.rows) // (self.batch_size * world))
        starts = [step * self.batch_size * world for step in range(steps)]
        return Loader(dataset, sampler=_FixedStarts(dataset, world, rank, starts), **self._options())

    def drawn_from(self, scans: pd.DataFrame) -> pd.DataFrame:
        """Return the table to draw from, with `key`, `dataset` and `group` per row.

        Here these are the scans themselves; a subclass may combine them to cases.

        Args:
            scans: a row per scan of the store's index that is not excluded.
        """
        return scans

    def batches_of(self, split: str, rank: int, world: int) -> "DrawnBatches":
        """Return the batches of one split for one rank.

        Args:
            split: "train", "val", or "all".
            rank: rank of this process.
            world: number of processes.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers of samples and batches consumed, and a digest of the scans."""
        return {"samples": self.samples, "batches": self.batches, "scans": self._scans_digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the last sample consumed, also with another batch size or number of ranks.

        Args:
            state_dict: result of `state_dict`.
        """
        self.samples, self.batches = int(state_dict["samples"]), int(state_dict["batches"])
        self._scans_when_saved = str(state_dict["scans"])
        self._compare_with_checkpoint()

    def _compare_with_checkpoint(self) -> None:
        if self._scans_when_saved and len(self.scans) and self._scans_when_saved != self._scans_digest():
            rank_zero_warn(
                f"{self.store_path}: its scans (or the seed) differ from those of the checkpoint; "
                "its draws cannot be repeated."
            )

    def _scans_digest(self) -> str:
        if self.scans.empty:
            return self._scans_when_saved
        train = self.scans[self.scans["split"] == "train"]
        return digest_of_json([self.seed, list(train["key"]), list(train["weight"])])

    def _check_weights(self, scans: pd.DataFrame) -> None:
        datasets = sorted(set(scans["dataset"]))
        listed = ", ".join(datasets)
        for name, weight in self.dataset_weights.items():
            if name not in datasets:
                raise BraindinoError(
                    f"data: dataset_weights: no dataset {name!r} in the store, only {listed}."
                )
            if not (np.isfinite(weight) and weight >= 0):
                raise BraindinoError(f"data: dataset_weights: {name} is {weight}; give a number from 0 up.")

    def _world(self) -> tuple[int, int]:
        """Return the rank of this process and the number of ranks."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _options(self) -> dict[str, Any]:
        # The dataset returns whole batches.
        return {"batch_size": None, **worker_options(self.num_workers)}


class DrawnBatches(Dataset[dict[str, torch.Tensor]]):
    """Batches by the number of their first sample, in arrays only so that workers start fast."""

    def __init__(self, module: DrawnDataModule, split: str, rank: int, world: int) -> None:
        """Choose the rows of a split; "train" is shuffled.

        Args:
            module: after `setup`.
            split: "train", "val", or "all".
            rank: rank of this process.
            world: number of processes.
        """
        self.store, self.rank, self.world, self.batch_size = module.store, rank, world, module.batch_size
        self.seed, self.shuffled = module.seed, split == "train"
        self.rows = np.flatnonzero((module.scans["split"] == split) | (split == "all"))
        self.order = ScanOrder(module.seed, module.scans["weight"].to_numpy(np.float64)[self.rows])

    def __len__(self) -> int:
        """Return the number of samples in a pass."""
        return len(self.rows)

    def draw(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers and the scans of this rank's samples of a batch.

        Args:
            start: number of the batch's first sample over all ranks.

        Returns:
            number: (B,) int64; samples start + rank, start + rank + world, ..., or the scan if not shuffled.
            scan: (B,) int64, positions in `rows`.
        """
        number = start + self.rank + self.world * np.arange(self.batch_size, dtype=np.int64)
        if self.shuffled:
            return number, self.order.draw(number)
        scan = number % len(self.rows)
        return scan, scan


class _NoBatches:
    """An empty iterable without a length; Lightning warns about a length of zero."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _FixedStarts(DistributedSampler[Any]):
    """First samples of the batches; Lightning does not replace a DistributedSampler under DDP."""

    def __init__(self, dataset: DrawnBatches, world: int, rank: int, starts: list[int]) -> None:
        super().__init__(dataset, world, rank, shuffle=False)
        self.starts = starts

    def __iter__(self) -> Iterator[int]:
        return iter(self.starts)

    def __len__(self) -> int:
        return len(self.starts)


class _RemainingStarts(DistributedSampler[Any]):
    """First samples of the epoch's remaining batches, after those that the module has consumed."""

    def __init__(self, module: DrawnDataModule, rank: int, world: int) -> None:
        super().__init__(range(1), world, rank, shuffle=False)  # type: ignore[arg-type]
        self.module, self.stride = module, module.batch_size * world
        self.steps = module.steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        left = self.steps - self.module.batches % self.steps
        start = self.module.samples
        return iter(range(start, start + left * self.stride, self.stride))

    def __len__(self) -> int:
        return self.steps


class _CountingLoader(Loader):
    """Count in the module the samples that were yielded; those loaded in advance do not count.

    The state is that of the module; without a state Lightning warns that the loader cannot resume.
    """

    def __init__(
        self,
        module: DrawnDataModule,
        dataset: DrawnBatches,
        steps: _RemainingStarts,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(dataset, sampler=steps, **options)
        self.module, self.stride = module, steps.stride

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            self.module.samples += self.stride
            self.module.batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """See `DrawnDataModule.state_dict`."""
        return self.module.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `DrawnDataModule.load_state_dict`."""
        self.module.load_state_dict(state_dict)
