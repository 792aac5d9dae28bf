"""Unlabelled data drawn at random from a store by a rule that can be resumed exactly: the base."""

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
from braindino.datasets.pretraining.exclude import excluded, refuse_no_match
from braindino.datasets.pretraining.sampling import ScanOrder
from braindino.datasets.splits import split_people
from braindino.errors import BraindinoError
from braindino.files import digest_of_json
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen
from braindino.scans.store.store import Store


class DrawnDataModule(LightningDataModule):
    """Batches drawn for self-supervised training; a subclass says what of a scan, or of a case, is cut out.

    Every draw is a pure function of the seed and the global number of the sample: which scan, by a fresh
    permutation of the scans per pass, and what of it. So neither workers nor restarts nor the number of GPUs
    change what is drawn. Rank r of W takes every W-th sample. A checkpoint holds the number of samples
    consumed, and training goes on with the next one, in the middle of an epoch too.

    After `setup`: `scans` (DataFrame of what is drawn from, with a column `split`).
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
        """Nothing is read yet.

        Args:
            store: folder of prepared scans (`braindino prepare`).
            batch_size: samples per batch and process.
            num_workers: processes that load batches.
            seed: of the draws, and of the choice of people for validation.
            steps_per_epoch: batches per epoch; by default as many as draw each scan once.
            exclude: whom to leave out, such as the test people of downstream tasks: the cases.csv of a probe,
                a manifest or table with paths, or people (`<dataset>:<subject>`) one per line. People match
                by these keys and by the content of their scans; a list that matches nobody is refused.
            dataset_weights: how many times as often as others the scans of a dataset are drawn; 0 leaves
                it out.
            val_fraction: of people, kept for validation; their samples are the same in every epoch.
        """
        super().__init__()
        if batch_size < 1 or (steps_per_epoch is not None and steps_per_epoch < 1):
            raise BraindinoError("data: batch_size and steps_per_epoch must be at least 1.")
        if seed < 0:
            raise BraindinoError(f"data: seed {seed}: must not be negative.")
        if not 0 <= val_fraction < 1:
            raise BraindinoError(f"data: val_fraction {val_fraction}: must be from 0 to below 1.")
        self.store_path, self.batch_size, self.num_workers, self.seed = (
            Path(store),
            batch_size,
            num_workers,
            seed,
        )
        self._steps_per_epoch, self.val_fraction = steps_per_epoch, val_fraction
        self.exclude = None if exclude is None else Path(exclude)
        self.dataset_weights = dict(dataset_weights or {})
        self.samples = 0  # consumed by all ranks together
        self.batches = 0  # consumed by each rank
        self._scans_when_saved = ""
        self._seen: Seen | None = None
        self.scans = pd.DataFrame()

    def setup(self, stage: str | None = None) -> None:
        """Read the store's index, leave out what is excluded, split off the people for validation.

        Raises:
            BraindinoError: no store, nothing left in it, an unknown dataset among the weights, nobody to
                validate on.
        """
        if stage == "validate" and not self.val_fraction:
            raise BraindinoError(
                "data: nobody is held out to validate on; give --data.val_fraction 0.05, say."
            )
        self.store = Store.open(self.store_path)
        index = self.store.index()
        scans = index.drop_duplicates("key", ignore_index=True)
        if scans.empty:
            raise BraindinoError(
                f"{self.store_path}: the store holds no scan; fill it with `braindino prepare`."
            )
        self._check_weights(scans)
        if self.exclude is not None:
            # a copy of a scan may be there under another name
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
                    "training or validation without anybody; give another fraction."
                )
        self.scans, self._seen = scans, None
        self._compare_with_checkpoint()

    def _excluded(self, file: Path, scans: pd.DataFrame) -> pd.Series:
        """Per scan, whether `exclude` names its person; prints how many."""
        digests = self.store.digests(scans["key"])
        out = excluded(file, scans, [digests[key] for key in scans["key"]])
        refuse_no_match(file, out, scans, self.store_path)
        people = scans.loc[out.rows, "group"].nunique()
        line = f"{file}: leaves out {int(out.rows.sum())} scans of {people} people"
        if out.by_content:
            line += f", {out.by_content} of them by the content of their scans only"
        if out.unmatched:
            first = out.unmatched[0]
            line += f"; {len(out.unmatched)} of {out.entries} entries match nobody, the first is {first!r}"
        rank_zero_only(print)(line, flush=True)
        return out.rows

    @property
    def contract(self) -> Preprocessing:
        """How the store's scans were prepared."""
        return Store.open(self.store_path).contract

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch."""
        if self._steps_per_epoch is not None:
            return self._steps_per_epoch
        return max(1, int((self.scans["split"] == "train").sum()) // (self.batch_size * self._world()[1]))

    def people(self) -> pd.DataFrame:
        """Who is trained on: DataFrame dataset, group. Saved with the run, to audit overlaps by."""
        trained = self.scans.loc[self.scans["split"] == "train", ["dataset", "group"]]
        return trained.drop_duplicates().sort_values(["dataset", "group"], ignore_index=True)

    def trained_on(self) -> Seen:
        """Return the people and scans that are trained on; they are recorded in every checkpoint."""
        if self._seen is None:
            train = self.scans[self.scans["split"] == "train"]
            keys = sorted({key for joined in train["key"] for key in str(joined).split(" ") if key})
            digests = self.store.digests(keys)
            lacking = sum(not found for found in digests.values())
            gaps = (f"the content of {lacking} scans is not recorded in the store",) if lacking else ()
            scans = frozenset(name for found in digests.values() for name in found)
            index = self.store.index()
            names = {*train["group"], *index.loc[index["key"].isin(keys), "group"]}
            self._seen = Seen(frozenset(map(str, names)), scans, gaps)
        return self._seen

    def train_dataloader(self) -> DataLoader[Any]:
        """An epoch of `steps_per_epoch` batches, or what is left of one after a restart."""
        rank, world = self._world()
        dataset = self.batches_of("train", rank, world)
        return _Counting(self, dataset, _Steps(self, rank, world), self._options())

    def val_dataloader(self) -> Iterable[Any]:
        """One sample of every validation scan, always the same; nothing without `val_fraction`."""
        return self._fixed("val") if self.val_fraction else _Nothing()

    def test_dataloader(self) -> Iterable[Any]:
        """One sample of every scan in use, always the same."""
        return self._fixed("all")

    def _fixed(self, split: str) -> DataLoader[Any]:
        rank, world = self._world()
        dataset = self.batches_of(split, rank, world)
        # Every rank gets as many batches: with DDP all must call the collectives equally often.
        steps = -(-len(dataset.rows) // (self.batch_size * world))
        starts = [step * self.batch_size * world for step in range(steps)]
        return Loader(dataset, sampler=_Listed(dataset, world, rank, starts), **self._options())

    def drawn_from(self, scans: pd.DataFrame) -> pd.DataFrame:
        """What is drawn at random, a row each with `key`, `dataset`, `group`: the scans themselves."""
        return scans

    def batches_of(self, split: str, rank: int, world: int) -> "DrawnBatches":
        """The batches of one split ("train", "val", or "all") for one rank."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Where the draws stand."""
        return {"samples": self.samples, "batches": self.batches, "scans": self._scans_digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the draws stood; another batch size or number of ranks goes on with the next sample."""
        self.samples, self.batches = int(state_dict["samples"]), int(state_dict["batches"])
        self._scans_when_saved = str(state_dict["scans"])
        self._compare_with_checkpoint()

    def _compare_with_checkpoint(self) -> None:
        if self._scans_when_saved and len(self.scans) and self._scans_when_saved != self._scans_digest():
            rank_zero_warn(
                f"{self.store_path}: not the scans (or seed) that the checkpoint was trained on; "
                "its draws cannot be repeated."
            )

    def _scans_digest(self) -> str:
        if self.scans.empty:
            return self._scans_when_saved
        train = self.scans[self.scans["split"] == "train"]
        return digest_of_json([self.seed, list(train["key"]), list(train["weight"])])

    def _check_weights(self, scans: pd.DataFrame) -> None:
        there = sorted(set(scans["dataset"]))
        listed = ", ".join(there)
        for name, weight in self.dataset_weights.items():
            if name not in there:
                raise BraindinoError(
                    f"data: dataset_weights: no dataset {name!r} in the store, only {listed}."
                )
            if not (np.isfinite(weight) and weight >= 0):
                raise BraindinoError(f"data: dataset_weights: {name} is {weight}; give a number from 0 up.")

    def _world(self) -> tuple[int, int]:
        """Rank and number of ranks."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _options(self) -> dict[str, Any]:
        return {"batch_size": None, **worker_options(self.num_workers)}  # the dataset makes whole batches


class DrawnBatches(Dataset[dict[str, torch.Tensor]]):
    """Whole batches, by the number of their first sample; holds arrays only, so workers start fast."""

    def __init__(self, module: DrawnDataModule, split: str, rank: int, world: int) -> None:
        """Batches of one split ("train", "val", or "all") for one rank; shuffled when it is "train"."""
        self.store, self.rank, self.world, self.batch_size = module.store, rank, world, module.batch_size
        self.seed, self.shuffled = module.seed, split == "train"
        self.rows = np.flatnonzero((module.scans["split"] == split) | (split == "all"))
        self.order = ScanOrder(module.seed, module.scans["weight"].to_numpy(np.float64)[self.rows])

    def __len__(self) -> int:
        """Number of samples in a pass."""
        return len(self.rows)

    def draw(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Of samples start + rank, start + rank + world, ...: what decides the cut, and which scan."""
        number = start + self.rank + self.world * np.arange(self.batch_size, dtype=np.int64)
        if self.shuffled:
            return number, self.order.draw(number)
        scan = number % len(self.rows)
        return scan, scan


class _Nothing:
    """No batches, and no length: of an empty list Lightning warns that its length is zero."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _Listed(DistributedSampler[Any]):
    """First samples of the batches. A DistributedSampler is what Lightning leaves in its place under DDP."""

    def __init__(self, dataset: DrawnBatches, world: int, rank: int, starts: list[int]) -> None:
        super().__init__(dataset, world, rank, shuffle=False)
        self.starts = starts

    def __iter__(self) -> Iterator[int]:
        return iter(self.starts)

    def __len__(self) -> int:
        return len(self.starts)


class _Steps(DistributedSampler[Any]):
    """First samples of the epoch's remaining batches, from where the module stands."""

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


class _Counting(Loader):
    """Tells the module what was consumed: handed out, not merely loaded ahead.

    Its state is the module's: without one Lightning warns, when resuming, that the loader cannot resume.
    """

    def __init__(
        self, module: DrawnDataModule, dataset: DrawnBatches, steps: _Steps, options: Mapping[str, Any]
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
