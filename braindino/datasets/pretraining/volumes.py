"""Load random 3-D crops of cases with several sequences, for pretraining."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from braindino.datasets.manifest import IDENTITY
from braindino.datasets.pretraining.base import DrawnBatches, DrawnDataModule
from braindino.errors import BraindinoError
from braindino.scans.store.store import Store


class VolumeDataModule(DrawnDataModule):
    """Batches of 3-D crops for self-supervised training, drawn by the rule of `DrawnDataModule`.

    A case is a subject's session. Its sequences are prepared by a contract with a spacing (the preset
    `volume`) and must be registered to each other. A crop is a cube at a uniformly random place of the grid,
    along the first axis within the foreground.

    A batch: "volumes" (B, M, c, c, c) as stored, "scale", "zero_point" (B, M) float32, "present" (B, M) bool,
    "case" (B,) int64 row number in `scans`; B is batch_size x crops_per_case. A missing sequence
    decodes to 0.
    """

    def __init__(
        self,
        store: Path | str,
        modalities: Sequence[str] = ("T1w", "FLAIR"),
        crop: int = 96,
        crops_per_case: int = 2,
        missing: Literal["mask", "drop"] = "mask",
        batch_size: int = 2,
        num_workers: int = 2,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        exclude: Path | str | None = None,
        dataset_weights: dict[str, float] | None = None,
        val_fraction: float = 0.0,
    ) -> None:
        """Store the options; nothing is read.

        Args:
            store: folder of scans prepared as volumes (`braindino prepare --contract volume`).
            modalities: the channels, by their names in the manifest.
            crop: side of a crop in voxels.
            crops_per_case: crops of each case that is drawn.
            missing: `mask` fills the channel of a missing sequence with zeros, `drop` excludes the case.
            batch_size: cases per batch and process.
            num_workers: see `DrawnDataModule`.
            seed: see `DrawnDataModule`.
            steps_per_epoch: see `DrawnDataModule`.
            exclude: see `DrawnDataModule`.
            dataset_weights: see `DrawnDataModule`.
            val_fraction: see `DrawnDataModule`.
        """
        super().__init__(
            store, batch_size, num_workers, seed, steps_per_epoch, exclude, dataset_weights, val_fraction
        )
        for name, value in (("crop", crop), ("crops_per_case", crops_per_case)):
            if value < 1:
                raise BraindinoError(f"data: {name} {value}: expected 1 or more.")
        if not modalities or len(set(modalities)) < len(modalities):
            raise BraindinoError(f"data: modalities {list(modalities)}: name each channel once.")
        self.modalities, self.crop = tuple(modalities), crop
        self.crops_per_case, self.missing = crops_per_case, missing

    def drawn_from(self, scans: pd.DataFrame) -> pd.DataFrame:
        """Return one row per case: key, scale and zero point by modality, and the foreground range.

        Args:
            scans: a row per scan.

        Raises:
            BraindinoError: the store has no scan of a modality.
        """
        available = sorted(set(scans["modality"]))
        for name in self.modalities:
            if name not in available:
                raise BraindinoError(
                    f"data: modalities: no scan in {self.store_path} is a {name!r}, "
                    f"only {', '.join(available)}."
                )
        scans = scans[scans["modality"].isin(self.modalities)].drop_duplicates([*IDENTITY, "modality"])
        cases = scans.groupby(list(IDENTITY), sort=True).agg(
            {"group": "first", "first": "min", "last": "max"}
        )
        for name in self.modalities:
            channel = scans[scans["modality"] == name].set_index(list(IDENTITY))
            cases = cases.join(channel[["key", "scale", "zero_point"]].add_suffix(f"_{name}"))
        keys = cases[[f"key_{name}" for name in self.modalities]].fillna("")
        # Identifies the case in a checkpoint.
        cases["key"] = keys.agg(" ".join, axis=1)
        if self.missing == "drop":
            cases = cases[(keys != "").all(axis=1)]
        return cases.reset_index()

    def batches_of(self, split: str, rank: int, world: int) -> "CropBatches":
        """See `DrawnDataModule.batches_of`."""
        return CropBatches(self, split, rank, world)


class CropBatches(DrawnBatches):
    """Batches of crops."""

    def __init__(self, module: VolumeDataModule, split: str, rank: int, world: int) -> None:
        """See `DrawnBatches`."""
        super().__init__(module, split, rank, world)
        cases = module.scans.iloc[self.rows]
        self.crop, self.crops = module.crop, module.crops_per_case
        self.first, self.last = cases["first"].to_numpy(np.int64), cases["last"].to_numpy(np.int64)
        keys, scales, zero_points = (
            cases[[f"{column}_{name}" for name in module.modalities]]
            for column in ("key", "scale", "zero_point")
        )
        self.keys = keys.fillna("").to_numpy(str).astype("S")
        self.scale = scales.fillna(1.0).to_numpy(np.float32)
        self.zero_point = zero_points.fillna(0.0).to_numpy(np.float32)

    def __getitem__(self, start: int) -> dict[str, torch.Tensor]:
        """Return the batch whose first sample, over all ranks, is number `start`."""
        number, drawn = self.draw(start)
        case = drawn.repeat(self.crops)
        corners = [
            corner
            for n, k in zip(number.tolist(), drawn.tolist(), strict=True)
            for corner in self._corners(n, k)
        ]
        channels = self.keys.shape[1]
        volumes = np.empty((len(case), channels, *[self.crop] * 3), self.store.contract.dtype)
        for b, (k, corner) in enumerate(zip(case.tolist(), corners, strict=True)):
            for m in range(channels):
                crop_volume(
                    self.store, self.keys[k, m].decode(), corner, self.zero_point[k, m], out=volumes[b, m]
                )
        return {
            "volumes": torch.from_numpy(volumes),
            "scale": torch.from_numpy(self.scale[case]),
            "zero_point": torch.from_numpy(self.zero_point[case]),
            "present": torch.from_numpy(self.keys[case] != b""),
            "case": torch.from_numpy(self.rows[case]),
        }

    def _corners(self, number: int, case: int) -> np.ndarray:
        """Return the first voxels (crops, 3) of a sample's crops; they may be outside of the grid."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        ends = np.array([[self.first[case], 0, 0], [self.last[case] + 1, *self.store.contract.size]])
        # A crop is inside the foreground, or contains all of it if that is shorter.
        ends[1] -= self.crop
        return rng.integers(ends.min(axis=0), ends.max(axis=0), (self.crops, 3), endpoint=True)


def crop_volume(store: Store, key: str, corner: Sequence[int], zero_point: float, out: np.ndarray) -> None:
    """Copy a box of a prepared scan; voxels outside of the scan become `zero_point`.

    Args:
        store: the prepared scans.
        key: key of the scan; an empty one fills `out` with `zero_point`.
        corner: first voxel of the box; moved into the grid if the grid is large enough for the box.
        zero_point: stored value of background.
        out: (c, c, c), receives the values.
    """
    if not key:
        out[...] = zero_point
        return
    volume = store.slices(key)
    sides = zip(corner, volume.shape, out.shape, strict=True)
    taken = [min(max(at, 0), max(n - c, 0)) for at, n, c in sides]
    part = volume[tuple(slice(at, at + c) for at, c in zip(taken, out.shape, strict=True))]
    if part.shape != out.shape:
        out[...] = zero_point
    out[tuple(slice(0, n) for n in part.shape)] = part
