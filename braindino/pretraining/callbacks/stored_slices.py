"""Slices for the monitors: straight from the store that is trained on, as the encoder sees them."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.module import DINOModule
from braindino.pretraining.sharding import Sharded, put_away
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store


def store_of(trainer: pl.Trainer, callback: str) -> Store:
    """Return the store that is trained on.

    Args:
        trainer: of the run.
        callback: name of the class that needs the store, for the message.

    Raises:
        BraindinoError: the data module has none.
    """
    path = getattr(getattr(trainer, "datamodule", None), "store_path", None)
    if path is None:
        raise BraindinoError(
            f"trainer.callbacks: {callback} needs the store of a SliceDataModule; with another data module "
            "remove it."
        )
    return Store.open(path)


def teacher_tokens(trainer: pl.Trainer, module: DINOModule, images: Tensor) -> tuple[Tensor, Tensor]:
    """CLS (N, D) and patches (N, patches, D) in float32 of (N, 1, H, W), in the trainer's precision.

    Where the teacher's weights are spread over the processes, all of them must ask.
    """
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        cls, patches = module.teacher.tokens(images.to(module.device))
    put_away(module.teacher)
    return cls.float(), patches.float()


def must_ask(trainer: pl.Trainer) -> bool:
    """Whether this process has to take part in `teacher_tokens`: the first one, or all when it is sharded."""
    return trainer.is_global_zero or isinstance(trainer.strategy, Sharded)


def stored_slice(store: Store, key: str, i: int, scale: float, zero_point: float) -> Tensor:
    """Slice `i` of a scan, z-scored: (H, W) float32. `scale` and `zero_point` are in `Store.index`."""
    raw = torch.from_numpy(store.slice(key, i).copy())
    return decode(raw, scale, zero_point)
