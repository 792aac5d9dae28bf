"""Slices for the monitors: straight from the store that is trained on, as the encoder sees them."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.scans.preprocessing import decode
from braindino.scans.store import Store


def store_of(trainer: pl.Trainer) -> Store:
    """The store that is trained on; raises BraindinoError if the data module has none."""
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
