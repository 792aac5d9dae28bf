"""Named recipes of training a probe: the default, and that of BrainDINO's paper and code."""

import copy
from dataclasses import dataclass, replace

from braindino.errors import BraindinoError
from braindino.probing.heads.base import OptimizerDefaults
from braindino.probing.heads.closed_form import ClosedForm
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.protocol import MAX_EPOCHS, PATIENCE, Protocol

# Rate at the last block of BrainDINO's encoder, rising linearly from 0 at the first.
DROP_PATH = 0.2
DROPOUT = 0.3  # in heads for several sequences


@dataclass(frozen=True)
class TrainingRecipe:
    """Settings of the released code for a task (docs/method.md, "Probes").

    Attributes:
        optimizer: settings of the optimiser.
        batch_size: cases per step.
        max_epochs: number of epochs at most.
        patience: epochs without improvement after which training stops.
    """

    optimizer: OptimizerDefaults
    batch_size: int | None
    max_epochs: int
    patience: int


PAPER = {
    "classification": TrainingRecipe(OptimizerDefaults(1e-4, 1e-5, coupled=True), 8, 8, 4),
    "regression": TrainingRecipe(OptimizerDefaults(1e-3, 1e-4), 8, 8, 4),
    "survival": TrainingRecipe(OptimizerDefaults(3e-4, 1e-3, coupled=True), 12, MAX_EPOCHS, 20),
}


def apply_recipe(
    module: FrozenProbeModule, protocol: Protocol, modalities: int
) -> tuple[FrozenProbeModule, Protocol]:
    """Return copies of a probe and its protocol, with the recipe's options where none is set.

    Options of the user (`model.standardise`, `lr`, `weight_decay`, `batch_size`, `probe.max_epochs`,
    `patience`) are not changed.

    Args:
        module: the probe, before `build`.
        protocol: names the recipe.
        modalities: scans of a case; heads for several have dropout in the paper's recipe.

    Raises:
        BraindinoError: the paper's recipe for a head that is not trained by epochs.
    """
    module = copy.deepcopy(module)
    paper = protocol.recipe == "paper"
    training = PAPER.get(module.head.task) if paper else None
    if paper and isinstance(module.head, ClosedForm):
        raise BraindinoError(
            f"probe.recipe: paper trains a head by epochs; {type(module.head).__name__} is solved at once.\n"
            "Use ClassificationHead, RegressionHead, DaysHead or SurvivalHead, or leave probe.recipe out."
        )
    if module.standardise is None:
        module.standardise = not paper
    if paper and isinstance(module.head, SegmentationHead) and module.head.decoder is None:
        module.head.decoder = "paper"
        module.pooling = module.head.make_decoder()
    if training is not None:
        module.head.optimizer_defaults = training.optimizer
        module.head.batch_size = training.batch_size
        module.head.dropout = DROPOUT if modalities > 1 else 0.0
        module.drop_path = DROP_PATH if protocol.cache is False else 0.0
    epochs = MAX_EPOCHS if training is None else training.max_epochs
    patience = PATIENCE if training is None else training.patience
    protocol = replace(
        protocol,
        max_epochs=epochs if protocol.max_epochs is None else protocol.max_epochs,
        patience=patience if protocol.patience is None else protocol.patience,
    )
    return module, protocol
