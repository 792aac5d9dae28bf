"""Slices for the monitors: straight from the store that is trained on, as the encoder sees them."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.sharding import Sharded
from braindino.scans.preprocessing import decode
from braindino.scans.store import Store


def store_of(trainer: pl.Trainer) -> Store:
    """The store that is trained on.

    Raises:
        BraindinoError: the data module has none, or the teacher is sharded, while monitors run it on the
            first process.
    """
    if isinstance(trainer.strategy, Sharded):
        raise BraindinoError(
            "trainer.callbacks: KNNMonitor and PatchPictures need the whole teacher on the first process, "
            "and trainer.strategy is Sharded.\nLeave them out: --trainer.callbacks null"
        )
    path = getattr(getattr(trainer, "datamodule", None), "store_path", None)
    if path is None:
        raise BraindinoError(
            "trainer.callbacks: KNNMonitor and PatchPictures need the store of a SliceDataModule; "
            "with another data module leave them out."
        )
    return Store.open(path)


def stored_slice(store: Store, key: str, i: int, step: float, zero: float) -> Tensor:
    """Slice `i` of a scan, z-scored: (H, W) float32. `step` and `zero` are in `Store.index`."""
    raw = torch.from_numpy(store.slice(key, i).copy())
    return decode(raw, step, zero)
