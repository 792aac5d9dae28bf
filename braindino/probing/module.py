"""The probe as Lightning trains it: a pooling and a head on features of a frozen encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from braindino.probing.cases import CaseFeatures
from braindino.probing.closed_form import ClosedForm
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
        standardise: subtract the mean of each feature over the labelled training cases and divide by its
            deviation, before whatever is trained. The features of an untrained or little trained encoder
            differ between scans by a millionth of their size: without this a head sees nothing in them.
            False is the paper's probe.
        lr: learning rate of Adam (BrainDINO's released code: 1e-4).
        weight_decay: decoupled weight decay; 0 makes the optimiser plain Adam.
        batch_size: cases per step; the head's own if omitted: 8 (BrainDINO's logs: 2 to 8), for survival all
            labelled cases, because a case is compared with those at risk in the same step.

    Logs `train/loss`, `val/loss` and the head's metrics as `val/<metric>` once per epoch.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        encoder: str,
        head: Head,
        pooling: Pooling | None = None,
        standardise: bool = True,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.pooling = MeanPooling() if pooling is None else pooling
        self.standardise = standardise
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self._losses: list[Tensor] = []
        self._trained = 0
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def build(self, data: CaseFeatures, labelled: Tensor, classes: Sequence[str]) -> None:
        """Make all parameters anew. Uses torch's global random state.

        Args:
            data: tells the widths; of its cases only those numbered `labelled`, to be trained on, are
            looked at.
            classes: of the dataset; empty for a regression.
        """
        if self.standardise:
            mean, spread = data.moments(labelled)
            self.register_buffer("mean", mean)
            self.register_buffer("spread", spread)
        width = self.pooling.build(data.embed_dim, data.rows.shape[1])
        self.head.build(width, data.target[labelled], classes)

    def restore(self, kept: Mapping[str, Any], classes: Sequence[str]) -> None:
        """Take on what a trained copy was (`kept_probe`), and be ready to predict.

        Raises:
            RuntimeError: `kept` is of another pooling or head.
        """
        state = kept["state"]
        if self.standardise:
            self.register_buffer("mean", torch.empty_like(state["mean"]))
            self.register_buffer("spread", torch.empty_like(state["spread"]))
        width = self.pooling.build(kept["embed_dim"], kept["modalities"])
        self.head.build(width, kept["target"], classes)
        if isinstance(self.head, ClosedForm):
            self.head.reserve({name[5:]: value for name, value in state.items() if name[:5] == "head."})
        self.load_state_dict(state)
        self.eval().requires_grad_(False)

    def step_size(self, labelled: int) -> int:
        """Cases per step when `labelled` cases are trained on."""
        return self.batch_size or self.head.batch_size or labelled

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, M, D, dim) and the mask (B, M, D) of slices that are there -> (B, outputs)."""
        return self.head(self.pooled(features, mask))

    def pooled(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, M, D, dim) and the mask (B, M, D) -> (B, width), what the head is given."""
        if self.standardise:
            features = (features - self.mean) / self.spread
        return self.pooling(features, mask)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch {"features", "mask", "target"}."""
        loss = self.head.loss(self(batch["features"], batch["mask"]), batch["target"])
        self._losses.append(loss.detach() * len(batch["target"]))
        self._trained += len(batch["target"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the outputs; metrics such as the AUROC belong to the whole part."""
        self._outputs.append(self(batch["features"], batch["mask"]))
        self._targets.append(batch["target"])

    def on_validation_epoch_end(self) -> None:
        """Log the losses of both parts, and the head's metrics of the validation part.

        The training loss is logged here, once: Lightning's own averaging costs a fifth of a step.
        """
        if self._trained:
            self.log("train/loss", torch.stack(self._losses).sum() / self._trained)
        self._losses.clear()
        self._trained = 0
        output, target = torch.cat(self._outputs), torch.cat(self._targets)
        self._outputs.clear()
        self._targets.clear()
        self.log("val/loss", self.head.loss(output, target))
        for name, value in self.head.metrics(output, target).items():
            self.log(f"val/{name}", torch.tensor(value, dtype=torch.float32))

    def configure_optimizers(self) -> Any:
        """AdamW, which without weight decay is Adam."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
