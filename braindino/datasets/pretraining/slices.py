"""Load raw slices drawn at random from a store, for pretraining."""

from typing import Any

import numpy as np
import torch

from braindino.datasets.pretraining.base import DrawnBatches, DrawnDataModule
from braindino.datasets.pretraining.sampling import SIGMA, draw_slices
from braindino.errors import BraindinoError


class SliceDataModule(DrawnDataModule):
    """Batches of single slices for self-supervised training; see `DrawnDataModule`.

    The slice of a scan is drawn from a truncated normal over the slices with foreground (`draw_slices`).

    A batch: "slices" (B, H, W) as stored, "scale", "zero_point" (B,) float32, "scan" (B,) int64 row in
    `scans`, "slice" (B,) int64; views are made of it on the accelerator.

    After `setup`: `scans` (DataFrame of the scans in use, one per distinct content, with a column `split`).
    """

    def __init__(self, *args: Any, slice_sigma: float = SIGMA, **kwargs: Any) -> None:
        """Store the options; nothing is read.

        Args:
            *args: see `DrawnDataModule`.
            slice_sigma: standard deviation of the drawn slice's position, as a fraction of the range of
                slices with foreground. The paper gives no value.
            **kwargs: see `DrawnDataModule`.
        """
        super().__init__(*args, **kwargs)
        if not 0 < slice_sigma <= 100:
            raise BraindinoError(f"data: slice_sigma {slice_sigma}: expected a number above 0, at most 100.")
        self.slice_sigma = slice_sigma

    def batches_of(self, split: str, rank: int, world: int) -> "SliceBatches":
        """See `DrawnDataModule.batches_of`."""
        return SliceBatches(self, split, rank, world)


class SliceBatches(DrawnBatches):
    """Batches of slices."""

    def __init__(self, module: SliceDataModule, split: str, rank: int, world: int) -> None:
        """See `DrawnBatches`."""
        super().__init__(module, split, rank, world)
        scans = module.scans.iloc[self.rows]
        self.keys = scans["key"].to_numpy("S")
        self.first, self.last = scans["first"].to_numpy(np.int64), scans["last"].to_numpy(np.int64)
        self.sigma = module.slice_sigma
        self.scale = scans["scale"].to_numpy(np.float32)
        self.zero_point = scans["zero_point"].to_numpy(np.float32)

    def __getitem__(self, start: int) -> dict[str, torch.Tensor]:
        """Return the batch whose first sample, over all ranks, is number `start`."""
        number, scan = self.draw(start)
        chosen = draw_slices(self.seed, number, self.first[scan], self.last[scan], self.sigma)
        contract = self.store.contract
        slices = np.empty((len(number), *contract.size), contract.dtype)
        for i, (k, s) in enumerate(zip(scan.tolist(), chosen.tolist(), strict=True)):
            slices[i] = self.store.slice(self.keys[k].decode(), s)
        return {
            "slices": torch.from_numpy(slices),
            "scale": torch.from_numpy(self.scale[scan]),
            "zero_point": torch.from_numpy(self.zero_point[scan]),
            "scan": torch.from_numpy(self.rows[scan]),
            "slice": torch.from_numpy(chosen),
        }
