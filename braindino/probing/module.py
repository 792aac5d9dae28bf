"""The probe as Lightning trains it: a pooling and a head on features of a frozen encoder."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from braindino.probing.heads import Head
from braindino.probing.pooling import MeanPooling, Pooling

Batch = dict[str, Tensor]


class FrozenProbeModule(LightningModule):
    """Pooling and head, trained on features that the encoder gave once.

    Args:
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name, or
            `scratch`: whatever `braindino.encoders.checkpoints.load_encoder` reads. It is never trained.
        head: what to predict, e.g. `{class_path: braindino.probing.ClassificationHead}`.
        pooling: from slices to one vector per case; the mean over slices and modalities if omitted.
        lr: learning rate of Adam (BrainDINO's released code: 1e-4).
        weight_decay: decoupled weight decay; 0 makes the optimiser plain Adam.
        batch_size: cases per step (BrainDINO's logs: 2 to 8).

    Logs `train/loss`, `val/loss` and the head's metrics as `val/<metric>` once per epoch.
    """

    def __init__(
        self,
        encoder: str,
        head: Head,
        pooling: Pooling | None = None,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        batch_size: int = 8,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.pooling = MeanPooling() if pooling is None else pooling
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def build(self, embed_dim: int, modalities: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Make all parameters anew, for features of width `embed_dim`. Uses torch's global random state.

        Args:
            modalities: number of scans of a case (M).
            train_target: encoded targets of the cases that will be trained on.
            classes: of the dataset; empty for a regression.
        """
        width = self.pooling.build(embed_dim, modalities)
        self.head.build(width, train_target, classes)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, M, D, dim) and the mask (B, M, D) of slices that are there -> (B, outputs)."""
        return self.head(self.pooling(features, mask))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch {"features", "mask", "target"}."""
        loss = self.head.loss(self(batch["features"], batch["mask"]), batch["target"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["target"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the outputs; metrics such as the AUROC belong to the whole part."""
        self._outputs.append(self(batch["features"], batch["mask"]))
        self._targets.append(batch["target"])

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the head's metrics of the validation part."""
        output, target = torch.cat(self._outputs), torch.cat(self._targets)
        self._outputs.clear()
        self._targets.clear()
        self.log("val/loss", self.head.loss(output, target))
        for name, value in self.head.metrics(output, target).items():
            self.log(f"val/{name}", torch.tensor(value, dtype=torch.float32))

    def configure_optimizers(self) -> Any:
        """AdamW, which without weight decay is Adam."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
