"""Check what pretraining requires of its trainer and its data, before the first step."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from braindino.errors import BraindinoError
from braindino.pretraining.sharding import Sharded


def check_trainer(trainer: pl.Trainer) -> None:
    """Refuse trainer settings under which the method is not the published one.

    Args:
        trainer: trainer of the run.

    Raises:
        BraindinoError: clipping by the trainer, a precision without float32 weights for the moving average,
            or a strategy that shards without regard to the blocks.
    """
    if trainer.gradient_clip_val is not None:
        raise BraindinoError(
            "trainer.gradient_clip_val: gradients are clipped per submodule; set model.optimiser.clip."
        )
    if str(trainer.precision) not in ("32-true", "bf16-mixed"):
        raise BraindinoError(
            f"trainer.precision: {trainer.precision} is not supported, as the moving average "
            "needs float32 weights.\nUse bf16-mixed or 32-true."
        )
    strategy = trainer.strategy
    if isinstance(strategy, FSDPStrategy | ModelParallelStrategy) and not isinstance(strategy, Sharded):
        raise BraindinoError(
            f"trainer.strategy: {type(strategy).__name__} cannot split student and teacher by their blocks.\n"
            "Use --trainer.strategy braindino.pretraining.Sharded, which is FSDP by blocks."
        )


def contract_of(trainer: pl.Trainer, patch_size: int) -> dict[str, Any]:
    """Return the data module's contract as plain values.

    Args:
        trainer: trainer with the data module.
        patch_size: side of a patch in pixels.

    Raises:
        BraindinoError: no contract, or slices that `patch_size` does not divide.
    """
    contract = getattr(getattr(trainer, "datamodule", None), "contract", None)
    if contract is None:
        raise BraindinoError(
            "DINOModule needs a data module with a `contract` (SliceDataModule): it is the preprocessing "
            "that the exported encoder will require."
        )
    if any(side % patch_size for side in contract.size):
        raise BraindinoError(
            f"the store's slices of {contract.size[0]} x {contract.size[1]} pixels do not divide into "
            f"patches of {patch_size}, so the encoder could not be used on them.\n"
            f"Prepare the store with a size that is a multiple of {patch_size}."
        )
    values: dict[str, Any] = contract.to_dict()
    return values
