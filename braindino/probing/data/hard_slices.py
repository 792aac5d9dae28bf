"""Empty slices that a probe finds hard: drawn by the false pixels that were predicted on them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

# Weight of a slice without false pixels, as a share of the pixels of a slice, so that every slice comes up.
CONSTANT = 1e-4
# Its factor for slices next to a region, which the borders of regions teach already.
BESIDE = 0.5


class HardSlices(Callback):
    """Draw slices without a region, with a probability proportional to their last false pixels.

    The weight of a slice is the number of false-positive pixels of its last training step, plus a constant.
    The object is shared by the sampler, which draws, and the trainer, whose module has the `false_pixels` of
    a step. They count from the next epoch on, because a sampler draws an epoch at its beginning; so the draws
    do not depend on worker processes. The counts are a part of the checkpoint of a cell.

    Args:
        spans: number of a case -> numbers of its slices that are not empty.
        occupied: number of a case -> (D,) bool, whether a slice has a region.
        area: pixels of a slice.

    Attributes:
        slices: number of a case -> numbers of the slices that can be drawn, without a region.
        counts: number of a case -> (D,) false pixels of each slice.
    """

    def __init__(
        self, spans: Mapping[int, np.ndarray], occupied: Mapping[int, np.ndarray], area: int
    ) -> None:
        self.slices = {case: span[~occupied[case][span]] for case, span in spans.items()}
        self.counts = {case: np.zeros(len(occupied[case]), dtype=np.int64) for case in spans}
        self._constants = {}
        for case, slices in self.slices.items():
            padded = np.pad(occupied[case], 1)
            beside = padded[slices] | padded[slices + 2]
            self._constants[case] = CONSTANT * area * np.where(beside, BESIDE, 1.0)
        self._unread: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def state_key(self) -> str:
        """Return the key of this callback in a checkpoint; it survives a rename of the class."""
        return "HardSlices"

    def weights(self, case: int) -> np.ndarray:
        """Return the probabilities of the `slices` of a case."""
        weights = self._constants[case] + self.counts[case][self.slices[case]]
        return np.asarray(weights / weights.sum())

    def draw(self, case: int, random: np.random.Generator) -> int:
        """Return the number of a slice without a region; the case must have one."""
        return int(random.choice(self.slices[case], p=self.weights(case)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect the false pixels of a batch; reading them now would wait for the accelerator."""
        counts = pl_module.false_pixels
        assert isinstance(counts, Tensor)
        self._unread.append((batch["case"], batch["slice"], counts))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the counts of all slices of the epoch."""
        for batch in self._unread:
            cases, numbers, counts = (values.tolist() for values in batch)
            for case, number, count in zip(cases, numbers, counts, strict=True):
                self.counts[case][number] = count
        self._unread.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the counts for `load_state_dict`."""
        return {"counts": {case: torch.from_numpy(counts) for case, counts in self.counts.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts of an interrupted training."""
        for case, counts in state_dict["counts"].items():
            self.counts[case][:] = counts.numpy()
