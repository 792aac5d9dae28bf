"""SwinSSLModule, a LightningModule: BrainSegFounder's self-supervised pretraining, stages 1 and 2."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional

from braindino.brainsegfounder.corruption import CorruptionConfig, CropGenerators, corrupt, turn
from braindino.brainsegfounder.heads import SSLHeads
from braindino.brainsegfounder.optimiser import Clipping, SwinOptimiser
from braindino.brainsegfounder.transfer import channel_names, read_source, tell, transfer
from braindino.encoders.volumes.swin import DEPTHS, STRIDE, SwinShape, swin
from braindino.errors import BraindinoError
from braindino.files import portable_path
from braindino.scans.preprocessing import decode
from braindino.scans.seen import Seen
from braindino.training.people import record_seen, seen_until, unknown_start

TEMPERATURE = 0.5  # of the contrast (the authors' code)


class SwinSSLModule(LightningModule):
    """Rotation, contrast and reconstruction of two views of each crop (arXiv 2406.10395, "Pretraining").

    Batches are those of `VolumeDataModule`. A view is the crop, turned in one plane and then corrupted; the
    loss is the cross entropy of the turn, plus NT-Xent between the two views, plus the mean absolute
    difference to the turned crop *before* it was corrupted, with equal weights. What is random in a batch is
    a function of (seed, batch number, process). Stage 2 is the same on another dataset, started from stage 1
    by `init_from`.

    Args:
        depth: blocks per stage: `tiny` 2-2-2-2, `small` 2-2-6-2, `big` 2-2-18-2, or four numbers.
        width: features of the first stage (BrainSegFounder: 48), a multiple of 12.
        heads: attention heads per stage.
        window: side of the attention windows.
        init_from: start the encoder from an earlier run (folder or `.ckpt`) or a published BrainSegFounder
            file. Channels are matched by the names of the sequences.
        corruption: how much of a view is cut out.
        optimiser: AdamW and its schedule.
        activation_checkpointing: compute blocks again in the backward pass instead of keeping them.
        seed: of turns and cuts (the weights follow `seed_everything`).

    Raises:
        BraindinoError: crops that the network cannot halve five times, weights that do not fit, or three
            steps in a row whose gradient is not finite.
    """

    next_command = "braindino probe --config TASK.yaml --model.encoder brainsegfounder:{run}"

    def __init__(
        self,
        depth: Literal["tiny", "small", "big"] | tuple[int, int, int, int] = "tiny",
        width: int = 48,
        heads: tuple[int, int, int, int] = (3, 6, 12, 24),
        window: int = 7,
        init_from: str | None = None,
        corruption: CorruptionConfig = CorruptionConfig(),  # noqa: B008 - frozen, so sharing it is safe
        optimiser: SwinOptimiser = SwinOptimiser(),  # noqa: B008
        activation_checkpointing: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise BraindinoError(f"model.seed {seed}: must not be negative.")
        self.depths = DEPTHS[depth] if isinstance(depth, str) else tuple(depth)
        self.width, self.heads_per_stage, self.window = width, tuple(heads), window
        self.init_from, self.corruption, self.optimiser_config = init_from, corruption, optimiser
        self.activation_checkpointing, self.seed = activation_checkpointing, seed
        self.batches = 0  # seen by this process since the start of the run, interruptions left out
        self.start: str = ""
        self._seen_before: list[Seen] = []  # by the start, or by the run before it was continued
        self._clip = Clipping()
        self._contract: dict[str, Any] = {}

    # ----------------------------------------------------------------------------------------------- set-up

    def configure_model(self) -> None:
        """Build the network for the channels of the data; Lightning calls it before weights are loaded."""
        if hasattr(self, "encoder"):
            return
        data = getattr(self.trainer, "datamodule", None)
        modalities = getattr(data, "modalities", None)
        if data is None or modalities is None or getattr(data, "crop", None) is None:
            raise BraindinoError("SwinSSLModule needs crops of volumes: data of VolumeDataModule.")
        if data.crop % STRIDE:
            raise BraindinoError(
                f"data.crop {data.crop}: the network halves crops five times; give a multiple of {STRIDE}."
            )
        self._contract = data.contract.to_dict()
        source = None if self.init_from is None else read_source(self.init_from)
        self.shape = shape_for(
            channel_names(modalities), self.depths, self.width, self.heads_per_stage, self.window,
            legacy=source is not None and source.shape.legacy_merging,
        )  # fmt: skip
        self.encoder = swin(self.shape)
        if self.activation_checkpointing:
            set_checkpointing(self.encoder)
        self.heads = SSLHeads(16 * self.width, len(modalities))
        if source is not None:
            report = transfer(self.encoder, self.shape.channels, source)
            self.start = f"{portable_path(source.path, Path.cwd())}: {report}"
            self._seen_before = [source.seen or unknown_start(str(source.path))]
            tell(f"model.init_from {source.path}: {report}")

    def configure_optimizers(self) -> Any:
        """See `SwinOptimiser`."""
        return self.optimiser_config.configure(self)

    # --------------------------------------------------------------------------------------------- training

    def losses(self, batch: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """The three losses of a batch by its number, their sum, and how often the turn was told."""
        crops = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        randomness = CropGenerators.of(self.seed, number, self.global_rank, crops.device)
        whole, quarters = zip(*(turn(crops, randomness) for _ in range(2)), strict=True)
        views = [corrupt(view, self.corruption, randomness) for view in whole]
        turns, features, restored = self.heads(self.encoder(torch.cat(views))[-1])
        label = torch.cat(quarters)
        rotation = functional.cross_entropy(turns.float(), label)
        one, other = features.float().chunk(2)
        contrast = nt_xent(one, other, TEMPERATURE)
        reconstruction = functional.l1_loss(restored.float(), torch.cat(whole))
        return {
            "loss": rotation + contrast + reconstruction,
            "rotation": rotation,
            "contrast": contrast,
            "reconstruction": reconstruction,
            "rotation_accuracy": (turns.argmax(dim=1) == label).float().mean(),
            "contrast_over_chance": contrast / math.log(2 * len(one) - 1) if len(one) > 1 else contrast,
        }

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """One micro-batch; see `VolumeDataModule` for its contents."""
        values = self.losses(batch, self.batches)
        self.batches += 1
        logged = {f"train/{name}": value.detach() for name, value in values.items()}
        self.log_dict(logged, batch_size=len(batch["volumes"]))
        return values["loss"]

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """The same losses on held-out people, with the same turns and cuts every time."""
        values = self.losses(batch, batch_idx)
        logged = {f"val/{name}": value for name, value in values.items()}
        self.log_dict(logged, batch_size=len(batch["volumes"]), sync_dist=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip; leave out a step that is not finite."""
        norm = self._clip(self, self.optimiser_config.clip, self.trainer.global_step)
        self.log_dict({"train/grad_norm": norm, "train/lr": optimizer.param_groups[0]["lr"]})

    # ------------------------------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the encoder needs to be built again, the number of batches, and what was seen."""
        checkpoint["encoder"] = {
            "architecture": "swin",
            "shape": {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self.shape).items()},
            "preprocessing": self._contract,
        }
        checkpoint["pretraining"] = {"batches": self.batches, "seed": self.seed, "start": self.start}
        record_seen(checkpoint, self.trainer, *self._seen_before)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the next batch."""
        self.batches = int(checkpoint["pretraining"]["batches"])
        self.start = str(checkpoint["pretraining"]["start"])
        self._seen_before = [seen_until(checkpoint)]


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """The contrast of two views (Chen et al., SimCLR, eq. 1): (B, F) each; the negatives are the batch's.

    A constant network scores ln(2 B - 1).
    """
    from monai.losses import ContrastiveLoss

    loss: Tensor = ContrastiveLoss(temperature)(one, other)
    return loss


def shape_for(
    channels: tuple[str, ...],
    depths: tuple[int, ...],
    width: int,
    heads: tuple[int, ...],
    window: int,
    legacy: bool,
) -> SwinShape:
    """The sizes of a Swin encoder from what the configs tell.

    Raises:
        BraindinoError: numbers that do not make one.
    """
    if width % 12 or len(depths) != 4 or len(heads) != 4 or min(*depths, *heads, window) < 1:
        raise BraindinoError(
            f"model: depth {depths}, width {width}, heads {heads}, window {window}: expected four stages of "
            "one block and head or more, a width that is a multiple of 12, and a window of 1 or more."
        )
    if any((width * 2**stage) % count for stage, count in enumerate(heads)):
        raise BraindinoError(f"model.heads {heads}: the widths {width}, x2, x4, x8 do not divide among them.")
    return SwinShape(
        channels=channels,
        width=width,
        depths=(depths[0], depths[1], depths[2], depths[3]),
        heads=(heads[0], heads[1], heads[2], heads[3]),
        window=window,
        legacy_merging=legacy,
    )


def set_checkpointing(encoder: torch.nn.Module) -> None:
    """Have every block of MONAI's Swin transformer computed again in the backward pass."""
    for module in encoder.modules():
        if hasattr(module, "use_checkpoint"):
            module.use_checkpoint = True  # type: ignore[assignment]
