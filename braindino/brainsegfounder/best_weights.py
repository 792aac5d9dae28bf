"""BestWeights: save the weights of the highest validation Dice of a run."""

from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from braindino.encoders.weight_files import read_file

BEST_FILE = "best.ckpt"


class BestWeights(ModelCheckpoint):
    """Save the weights of the highest `val/dice` as `best.ckpt`.

    A subclass, because Lightning lets a module's callback replace the trainer's of the same class.

    Args:
        folder: folder of the run.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(BEST_FILE).stem,
            monitor="val/dice",
            mode="max",
            save_top_k=1,
            save_weights_only=True,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the score to beat from `best.ckpt` where a run continues.

        The run's checkpoint was saved before the validation that followed it, whose score it lacks.
        """
        super().on_train_start(trainer, pl_module)
        path = Path(str(self.dirpath)) / BEST_FILE
        if not trainer.global_step or not path.is_file():
            return
        score = torch.tensor(read_file(path)["segmentation"].get("dice", float("nan")))
        if score.isfinite() and (self.best_model_score is None or score > self.best_model_score):
            self.best_model_score = self.kth_value = score
            self.best_model_path = self.kth_best_model_path = str(path)
            self.best_k_models = {str(path): score}
