"""Read slices of the training's store for the monitors, and pass them through the teacher."""

import lightning.pytorch as pl
import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.module import DINOModule
from braindino.pretraining.sharding import Sharded, reshard
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store


def store_of(trainer: pl.Trainer, callback: str) -> Store:
    """Return the store that is trained on.

    Args:
        trainer: trainer of the run.
        callback: name of the class that needs the store, and the teacher, for the message.

    Raises:
        BraindinoError: the data module has no store, or the module no teacher.
    """
    if not isinstance(trainer.lightning_module, DINOModule):
        raise BraindinoError(
            f"trainer.callbacks: {callback} needs the teacher of a DINOModule; with "
            f"{type(trainer.lightning_module).__name__} remove it."
        )
    path = getattr(getattr(trainer, "datamodule", None), "store_path", None)
    if path is None:
        raise BraindinoError(
            f"trainer.callbacks: {callback} needs the store of a SliceDataModule; with another data module "
            "remove it."
        )
    return Store.open(path)


def teacher_tokens(trainer: pl.Trainer, module: DINOModule, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return CLS and patch tokens of the teacher, computed in the trainer's precision.

    If the teacher's weights are sharded, all processes must call this equally often.

    Args:
        trainer: trainer of the run.
        module: module whose teacher is used.
        images: (N, 1, H, W).

    Returns:
        CLS (N, D) and patches (N, P, D), float32.
    """
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        cls, patches = module.teacher.tokens(images.to(module.device))
    reshard(module.teacher)
    return cls.float(), patches.float()


def takes_part(trainer: pl.Trainer) -> bool:
    """Return whether this process must call `teacher_tokens`: the first, or all if sharded."""
    return trainer.is_global_zero or isinstance(trainer.strategy, Sharded)


def stored_slice(store: Store, key: str, i: int, scale: float, zero_point: float) -> Tensor:
    """Return a slice of a scan in the store, z-scored.

    Args:
        store: store of the training.
        key: key of the scan.
        i: number of the slice.
        scale: value of one grey level; a column of `Store.index`.
        zero_point: grey level of the value 0; likewise.

    Returns:
        (H, W) float32.
    """
    raw = torch.from_numpy(store.slice(key, i).copy())
    return decode(raw, scale, zero_point)
