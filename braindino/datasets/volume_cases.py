"""3-D cases with masks: random crops for training, whole cases for evaluation."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.grid_masks import GridMask, grid_masks
from braindino.datasets.loading import Loader, worker_options
from braindino.datasets.pretraining.base import DrawnBatches, DrawnDataModule
from braindino.datasets.pretraining.volumes import crop_volume
from braindino.datasets.splits import nested_fraction
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing

CHANNEL = ("key", "scale", "zero_point")  # columns per modality


class VolumeCases(DrawnDataModule):
    """Batches for 3-D segmentation from a dataset with masks, with the split of that dataset.

    Training crops are drawn by the rule of `DrawnDataModule`: "volumes" (B, M, c, c, c) as stored, "scale",
    "zero_point" (B, M), "present" (B, M) bool, "labels" (B, c, c, c) uint8, "case" (B,) row labels of the
    dataset's `cases`. A batch of validation or test is one whole case: "volumes" (1, M, D, H, W), and
    "labels" on the same grid.

    With `prepare` of the dataset, a store that does not exist is made by the contract `volume`. A store
    without a spacing is refused, because the voxel size differs between its scans.
    """

    def __init__(
        self,
        cases: ScanDataModule,
        crop: int = 128,
        crops_per_case: int = 1,
        foreground: float = 0.5,
        fraction: float = 1.0,
        fraction_seed: int = 0,
        missing: Literal["mask", "drop"] = "mask",
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
        steps_per_epoch: int | None = None,
    ) -> None:
        """Store the options; nothing is read.

        Args:
            cases: the dataset, e.g. `{class_path: braindino.datasets.BraTS2021, init_args: {root: ...}}`.
            crop: side of a training crop in voxels.
            crops_per_case: crops of each case that is drawn.
            foreground: share of the crops centred in the mask, if the case has labels.
            fraction: fraction of the training people, stratified and nested: 10 % are part of 25 %.
            fraction_seed: another seed gives other people.
            missing: `mask` fills the channel of a missing modality with zeros, `drop` excludes the case.
            batch_size: cases per training batch and process.
            num_workers: processes that load batches.
            seed: seed of the draws.
            steps_per_epoch: training batches per epoch; by default enough to draw each case once.
        """
        cases.option = "data.cases"
        super().__init__(cases.store_path, batch_size, num_workers, seed, steps_per_epoch)
        for name, value in (("crop", crop), ("crops_per_case", crops_per_case)):
            if value < 1:
                raise BraindinoError(f"data: {name} {value}: expected 1 or more.")
        if not 0 <= foreground <= 1:
            raise BraindinoError(f"data: foreground {foreground}: expected 0 to 1.")
        self.cases, self.crop, self.crops_per_case, self.foreground = cases, crop, crops_per_case, foreground
        self.fraction, self.fraction_seed, self.missing = fraction, fraction_seed, missing
        self.masks: dict[int, GridMask] = {}
        self.excluded = pd.DataFrame(columns=["case", "reason"])

    def prepare_data(self) -> None:
        """Index the dataset and prepare missing scans."""
        self.cases.check_store()
        if self.cases.contract is None and not (Path(self.store_path) / "contract.json").exists():
            self.cases.use_contract(Preprocessing.preset("volume"))
        self.cases.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Split, load the masks on the grid, and choose the labelled fraction, once.

        Args:
            stage: see `ScanDataModule.setup`.

        Raises:
            BraindinoError: a store without a spacing, or no person in a part of the split.
        """
        if len(self.scans):
            return
        if self.contract.spacing is None:
            raise BraindinoError(
                f"{self.store_path}: prepared without a spacing; volumes need one voxel size.\n"
                "Name another folder: `braindino prepare MANIFEST --store FOLDER --contract volume`."
            )
        self.cases.setup(stage)
        if not self.cases.regions:
            raise BraindinoError(
                f"data.cases: the masks of {self.cases.name!r} have no regions to segment.\n"
                "Choose a dataset with masks; for a cohort give `regions`, such as {lesion: [1]}."
            )
        # A table may set the modalities in its `setup`.
        self.store, self.modalities = self.cases.store, tuple(self.cases.modalities)
        self.masks, reasons = grid_masks(self.cases)
        table = self._table()
        if self.missing == "drop":
            for name in reversed(self.modalities):
                lacking = table.index[table[f"key_{name}"] == ""]
                reasons |= {int(row): f"no {name} (data.missing: drop)" for row in lacking}
        self.excluded = pd.DataFrame(
            [(self.cases.cases.loc[row, "case"], reason) for row, reason in sorted(reasons.items())],
            columns=["case", "reason"],
        )
        table = table.drop(index=[row for row in reasons if row in table.index])
        train = table[table["split"] == "train"]
        chosen = nested_fraction(
            train.assign(stratum=self.cases.strata(self.cases.cases).loc[train.index]),
            self.fraction,
            self.fraction_seed,
            "stratum",
        )
        table = table[(table["split"] != "train") | table.index.isin(chosen.index)]
        for part in ("train", "val", "test"):
            if not (table["split"] == part).any():
                raise BraindinoError(
                    f"data.cases: the part {part} has no person with a usable mask.\n"
                    "Add people with masks, or change the split."
                )
        self.scans = table.rename_axis("case").reset_index()
        self._compare_with_checkpoint()

    def _table(self) -> pd.DataFrame:
        """Return the cases: dataset, group, split, key, weight and `CHANNEL` per modality."""
        cases = self.cases.cases
        index = self.store.index().drop_duplicates("key").set_index("key")
        keys = cases[[f"key_{name}" for name in self.modalities]]
        table = cases[["dataset", "group", "split"]].assign(weight=1.0, key=keys.agg(" ".join, axis=1))
        for name in self.modalities:
            stored = index.reindex(keys[f"key_{name}"])
            table[f"key_{name}"] = keys[f"key_{name}"]
            table[f"scale_{name}"] = stored["scale"].fillna(1.0).to_numpy()
            table[f"zero_point_{name}"] = stored["zero_point"].fillna(0.0).to_numpy()
        return table

    def batches_of(self, split: str, rank: int, world: int) -> "MaskedCrops":
        """See `DrawnDataModule.batches_of`."""
        return MaskedCrops(self, split, rank, world)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this process's share of whole validation cases."""
        return self._whole(["val"])

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of validation and test cases; predictions of both are written."""
        return self._whole(["val", "test"])

    def _whole(self, splits: Sequence[str]) -> DataLoader[Any]:
        rank, world = self._world()
        chosen = self.scans[self.scans["split"].isin(splits)]
        options = {**self._options(), **worker_options(min(self.num_workers, 2))}
        return Loader(WholeCases(self, chosen), sampler=ProcessShare(len(chosen), rank, world), **options)


class MaskedCrops(DrawnBatches):
    """Batches of crops with their labels."""

    def __init__(self, module: VolumeCases, split: str, rank: int, world: int) -> None:
        """See `DrawnBatches`."""
        super().__init__(module, split, rank, world)
        table = module.scans.iloc[self.rows]
        self.crop, self.crops, self.foreground = module.crop, module.crops_per_case, module.foreground
        self.cases = table["case"].to_numpy(np.int64)
        self.masks = [module.masks[int(case)] for case in self.cases]
        self.keys, self.scale, self.zero_point = channel_arrays(table, module.modalities)

    def __getitem__(self, start: int) -> dict[str, torch.Tensor]:
        """Return the batch whose first sample, over all ranks, is number `start`."""
        number, drawn = self.draw(start)
        case = drawn.repeat(self.crops)
        side = (self.crop,) * 3
        volumes = np.empty((len(case), self.keys.shape[1], *side), self.store.contract.dtype)
        labels = np.zeros((len(case), *side), np.uint8)
        for b, k in enumerate(case.tolist()):
            rng = np.random.Generator(np.random.Philox(key=[self.seed, int(number[b // self.crops])]))
            corner = self._corner(rng, k, b % self.crops)
            for m in range(self.keys.shape[1]):
                crop_volume(
                    self.store, self.keys[k, m].decode(), corner, self.zero_point[k, m], out=volumes[b, m]
                )
            crop_labels(self.masks[k], corner, out=labels[b])
        return {
            "volumes": torch.from_numpy(volumes),
            "scale": torch.from_numpy(self.scale[case]),
            "zero_point": torch.from_numpy(self.zero_point[case]),
            "present": torch.from_numpy(self.keys[case] != b""),
            "labels": torch.from_numpy(labels),
            "case": torch.from_numpy(self.cases[case]),
        }

    def _corner(self, rng: np.random.Generator, case: int, which: int) -> tuple[int, int, int]:
        """Return the first voxel of crop `which` of a sample, inside a grid that is large enough."""
        mask = self.masks[case]
        grid = np.array([len(mask), *mask.size])
        room = np.maximum(grid - self.crop, 0)
        labelled = np.flatnonzero(mask.present[:, 1:].any(axis=1))
        # Draw for all crops up to this one, so that a crop does not depend on which others are read.
        for _ in range(which + 1):
            inside, share = rng.random(), rng.random(3)
        if inside >= self.foreground or not len(labelled):
            corner = np.floor(share * (room + 1)).astype(int)
        else:
            plane = int(labelled[int(share[0] * len(labelled))])
            rows, columns = np.nonzero(mask.slice(plane))
            at = int(share[1] * len(rows))
            corner = np.clip(np.array([plane, rows[at], columns[at]]) - self.crop // 2, 0, room)
        return int(corner[0]), int(corner[1]), int(corner[2])


class ProcessShare(DistributedSampler[Any]):
    """Sampler of every `world`-th case from `rank` on, so that each is evaluated once.

    Lightning does not replace a DistributedSampler; it replaces any other sampler by one that divides the
    cases again and repeats some of them.
    """

    def __init__(self, count: int, rank: int, world: int) -> None:
        """Choose the cases of process `rank`.

        Args:
            count: number of cases.
            rank: rank of this process.
            world: number of processes.
        """
        super().__init__(range(count), world, rank, shuffle=False)  # type: ignore[arg-type]
        self.cases = range(rank, count, world)

    def __iter__(self) -> Iterator[int]:
        """Yield positions of cases."""
        return iter(self.cases)

    def __len__(self) -> int:
        """Return the number of cases of this process."""
        return len(self.cases)


class WholeCases(Dataset[dict[str, torch.Tensor]]):
    """Whole cases with their labels, one per item."""

    def __init__(self, module: VolumeCases, table: pd.DataFrame) -> None:
        """Look up keys, scales and masks.

        Args:
            module: after `setup`.
            table: some rows of `module.scans`.
        """
        self.store, self.cases = module.store, table["case"].to_numpy(np.int64)
        self.masks = [module.masks[int(case)] for case in self.cases]
        self.keys, self.scale, self.zero_point = channel_arrays(table, module.modalities)

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.cases)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        """Return case `i`; see `VolumeCases`."""
        mask = self.masks[i]
        shape = (len(mask), *mask.size)
        volumes = np.empty((1, self.keys.shape[1], *shape), self.store.contract.dtype)
        for m in range(self.keys.shape[1]):
            crop_volume(
                self.store, self.keys[i, m].decode(), (0, 0, 0), self.zero_point[i, m], out=volumes[0, m]
            )
        labels = np.empty((1, *shape), np.uint8)
        crop_labels(mask, (0, 0, 0), out=labels[0])
        return {
            "volumes": torch.from_numpy(volumes),
            "scale": torch.from_numpy(self.scale[[i]]),
            "zero_point": torch.from_numpy(self.zero_point[[i]]),
            "present": torch.from_numpy(self.keys[[i]] != b""),
            "labels": torch.from_numpy(labels),
            "case": torch.from_numpy(self.cases[[i]]),
        }


def channel_arrays(
    table: pd.DataFrame, modalities: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keys (N, M) bytes, scales and zero points (N, M) float32 of the cases of a table."""
    keys, scales, zero_points = (table[[f"{column}_{name}" for name in modalities]] for column in CHANNEL)
    return keys.to_numpy(str).astype("S"), scales.to_numpy(np.float32), zero_points.to_numpy(np.float32)


def crop_labels(mask: GridMask, corner: tuple[int, int, int], out: np.ndarray) -> None:
    """Copy a box of labels; voxels outside of the grid become 0.

    Args:
        mask: labels on the grid.
        corner: first voxel of the box.
        out: (c, c, c) uint8, receives the labels.
    """
    out[...] = 0
    first, row, column = corner
    for i in range(min(out.shape[0], len(mask) - first)):
        plane = mask.slice(first + i)[row : row + out.shape[1], column : column + out.shape[2]]
        out[i, : plane.shape[0], : plane.shape[1]] = plane
