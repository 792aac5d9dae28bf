"""SwinSSLModule: BrainSegFounder's self-supervised pretraining, stages 1 and 2."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from braindino.brainsegfounder.base import SwinModule, check_crop
from braindino.brainsegfounder.corruption import CorruptionConfig, CropGenerators, corrupt, turn
from braindino.brainsegfounder.ssl_heads import SSLHeads
from braindino.encoders.volumes.swin import swin
from braindino.errors import BraindinoError
from braindino.scans.preprocessing import decode

TEMPERATURE = 0.5  # of the contrast (the authors' code)


class SwinSSLModule(SwinModule):
    """Pretrain a Swin encoder by rotation, contrast and reconstruction.

    The method is that of arXiv 2406.10395, "Pretraining"; method.md "BrainSegFounder" lists the differences.
    Batches are those of `VolumeDataModule`. A view is the crop, turned in one plane and then corrupted; there
    are two views of each crop. The loss is the cross entropy of the turn, plus NT-Xent between the two views,
    plus the mean absolute difference to the turned crop *before* it was corrupted, with equal weights. Random
    draws are a function of (seed, batch number, process). Stage 2 is the same on another dataset, started
    from stage 1 by `init_from`.

    Args:
        corruption: amount and size of the blocks that replace parts of a view.
        options: sizes, start and optimiser; see `SwinModule`.

    Raises:
        BraindinoError: see `SwinModule`.
    """

    next_command = "braindino probe --config TASK.yaml --model.encoder brainsegfounder:{run}"

    def __init__(
        self,
        corruption: CorruptionConfig = CorruptionConfig(),  # noqa: B008 - frozen, so sharing it is safe
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.corruption = corruption
        self._contract: dict[str, Any] = {}

    def configure_model(self) -> None:
        """Build the network for the channels of the data, and load the weights of `init_from`.

        Lightning calls it before it loads the weights of a checkpoint.
        """
        if hasattr(self, "encoder"):
            return
        data = getattr(self.trainer, "datamodule", None)
        modalities = getattr(data, "modalities", None)
        if data is None or modalities is None or getattr(data, "crop", None) is None:
            raise BraindinoError("SwinSSLModule needs crops of volumes: data of VolumeDataModule.")
        check_crop(data.crop)
        self._contract = data.contract.to_dict()
        source = self.read_start()
        self.shape = self.shape_for(modalities, source)
        self.encoder = swin(self.shape)
        if self.activation_checkpointing:
            set_checkpointing(self.encoder)
        self.heads = SSLHeads(16 * self.width, len(modalities))
        if source is not None:
            self.load_start(self.encoder, self.shape.channels, source)

    # --------------------------------------------------------------------------------------------- training

    def losses(self, batch: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """Return the three losses of a batch, their sum, and the accuracy of the predicted turns.

        Args:
            batch: see `VolumeDataModule`.
            number: number of the batch; it decides the random draws.
        """
        crops = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        randomness = CropGenerators.of(self.seed, number, self.global_rank, crops.device)
        whole, quarters = zip(*(turn(crops, randomness) for _ in range(2)), strict=True)
        views = [corrupt(view, self.corruption, randomness) for view in whole]
        turns, features, restored = self.heads(self.encoder(torch.cat(views))[-1])
        label = torch.cat(quarters)
        rotation = functional.cross_entropy(turns.float(), label)
        first, second = features.float().chunk(2)
        contrast = nt_xent(first, second, TEMPERATURE)
        reconstruction = functional.l1_loss(restored.float(), torch.cat(whole))
        return {
            "loss": rotation + contrast + reconstruction,
            "rotation": rotation,
            "contrast": contrast,
            "reconstruction": reconstruction,
            "rotation_accuracy": (turns.argmax(dim=1) == label).float().mean(),
            "contrast_over_chance": contrast / math.log(2 * len(first) - 1) if len(first) > 1 else contrast,
        }

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one micro-batch; see `VolumeDataModule` for its contents."""
        values = self.losses(batch, self.batches)
        self.batches += 1
        logged = {f"train/{name}": value.detach() for name, value in values.items()}
        self.log_dict(logged, batch_size=len(batch["volumes"]))
        return values["loss"]

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the losses on people held out, with the same turns and blocks at every validation."""
        values = self.losses(batch, batch_idx)
        logged = {f"val/{name}": value for name, value in values.items()}
        self.log_dict(logged, batch_size=len(batch["volumes"]), sync_dist=True)

    # ------------------------------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add shape and contract of the encoder, the number of batches, and what was seen."""
        checkpoint["encoder"] = {
            "architecture": "swin",
            "shape": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self.shape).items()},
            "preprocessing": self._contract,
        }
        checkpoint["pretraining"] = {"batches": self.batches, "seed": self.seed, "start": self.start}
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue with the next batch."""
        self.batches = int(checkpoint["pretraining"]["batches"])
        self.start = str(checkpoint["pretraining"]["start"])
        super().on_load_checkpoint(checkpoint)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss of two views (Chen et al., SimCLR, arXiv 2002.05709, eq. 1).

    The negatives are the other crops of the batch. A constant network scores ln(2 B - 1).

    Args:
        first: features of one view of each crop (B, F).
        second: features of the other view (B, F).
        temperature: divides the cosine similarities.
    """
    from monai.losses import ContrastiveLoss

    loss: Tensor = ContrastiveLoss(temperature)(first, second)
    return loss


def set_checkpointing(encoder: torch.nn.Module) -> None:
    """Make every block of MONAI's Swin transformer compute again in the backward pass."""
    for module in encoder.modules():
        if hasattr(module, "use_checkpoint"):
            module.use_checkpoint = True  # type: ignore[assignment]
