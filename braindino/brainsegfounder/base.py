"""VolumeModule and SwinModule: what the trainings on crops of volumes share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from braindino.brainsegfounder.optimiser import GradientClipping, SwinOptimiserConfig
from braindino.brainsegfounder.transfer import Source, channel_names, read_source, transfer
from braindino.encoders.volumes.swin import DEPTHS, STRIDE, SwinShape
from braindino.errors import BraindinoError
from braindino.files import portable_path
from braindino.scans.seen import Seen
from braindino.training.people import record_seen, seen_until, unknown_start


class VolumeModule(LightningModule):
    """Base of the modules that train on crops: optimiser, gradient clipping, and what was seen.

    Args:
        optimiser: AdamW and its schedule.
        seed: seed of the random changes to crops (the weights follow `seed_everything`).

    Attributes:
        batches: trained on by this process since the start of the run, in earlier starts as well.
        init_from: weights that the run started from; None for random weights.
        start: file that the weights started from, and the report of the transfer; "" for random weights.
        seen: people and scans seen by the weights that the run started from, or None if their file does not
            record them. Random weights have seen none.

    Raises:
        BraindinoError: a seed below 0; in training three steps in a row whose gradient is not finite.
    """

    def __init__(
        self,
        optimiser: SwinOptimiserConfig = SwinOptimiserConfig(),  # noqa: B008 - frozen, so sharing it is safe
        seed: int = 0,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise BraindinoError(f"model.seed {seed}: must not be negative.")
        self.optimiser_config, self.seed = optimiser, seed
        self.batches = 0
        self.init_from: str | None = None
        self.start = ""
        self.seen: Seen | None = Seen()
        self._seen_before: Seen | None = None  # by the run before it was continued
        self._clip = GradientClipping()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule; see `SwinOptimiserConfig`."""
        return self.optimiser_config.configure(self)

    # --------------------------------------------------------------------------------------------- training

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient; skip a step that is not finite."""
        norm = self._clip(self, self.optimiser_config.clip, self.trainer.global_step)
        self.log_dict({"train/grad_norm": norm, "train/lr": optimizer.param_groups[0]["lr"]})

    # ------------------------------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the people and scans seen by this run, its start, and the run that it continues."""
        start = self.seen or unknown_start(str(self.init_from))
        record_seen(checkpoint, self.trainer, start, self._seen_before)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the people and scans that the run had seen."""
        self._seen_before = seen_until(checkpoint)


class SwinModule(VolumeModule):
    """Base of the modules that train a Swin transformer: its sizes and its start.

    Args:
        depth: blocks per stage: `tiny` 2-2-2-2, `small` 2-2-6-2, `big` 2-2-18-2, or four numbers.
        width: features of the first stage (BrainSegFounder: 48), a multiple of 12.
        heads: attention heads per stage.
        window: side of the attention windows.
        init_from: start the encoder from a pretraining run (folder or `.ckpt`) or a published BrainSegFounder
            file. Channels are matched by the names of the sequences.
        activation_checkpointing: compute blocks again in the backward pass instead of storing them.
        options: optimiser and seed; see `VolumeModule`.

    Raises:
        BraindinoError: at the start of the run crops that the network cannot halve five times, sizes that do
            not fit together, or weights that do not fit the sizes; see also `VolumeModule`.
    """

    def __init__(
        self,
        depth: Literal["tiny", "small", "big"] | tuple[int, int, int, int] = "tiny",
        width: int = 48,
        heads: tuple[int, int, int, int] = (3, 6, 12, 24),
        window: int = 7,
        init_from: str | None = None,
        activation_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.depths = DEPTHS[depth] if isinstance(depth, str) else tuple(depth)
        # `heads` is a submodule of pretraining, by its name in checkpoints
        self.width, self.heads_per_stage, self.window = width, tuple(heads), window
        self.init_from, self.activation_checkpointing = init_from, activation_checkpointing

    # ----------------------------------------------------------------------------------------------- set-up

    def read_start(self) -> Source | None:
        """Read the weights that `init_from` names; None if they are random."""
        return None if self.init_from is None else read_source(self.init_from)

    def shape_for(self, modalities: Sequence[str], source: Source | None) -> SwinShape:
        """Return the sizes of the encoder.

        Args:
            modalities: modalities of the data, a channel each.
            source: weights to start from; theirs decide how patches are merged.

        Raises:
            BraindinoError: sizes that do not fit together.
        """
        depths, width, heads, window = self.depths, self.width, self.heads_per_stage, self.window
        if width % 12 or len(depths) != 4 or len(heads) != 4 or min(*depths, *heads, window) < 1:
            raise BraindinoError(
                f"model: depth {depths}, width {width}, heads {heads}, window {window}: expected four stages "
                "of one block and head or more, a width that is a multiple of 12, and a window of 1 or more."
            )
        if any((width * 2**stage) % count for stage, count in enumerate(heads)):
            raise BraindinoError(
                f"model.heads {heads}: the widths {width}, x2, x4, x8 do not divide among them."
            )
        return SwinShape(
            channels=channel_names(modalities),
            width=width,
            depths=(depths[0], depths[1], depths[2], depths[3]),
            heads=(heads[0], heads[1], heads[2], heads[3]),
            window=window,
            legacy_merging=source is not None and source.shape.legacy_merging,
        )

    def load_start(self, encoder: nn.Module, channels: Sequence[str], source: Source) -> None:
        """Load `source` into the encoder, record what it has seen, and print the report.

        Raises:
            BraindinoError: weights that do not fit.
        """
        report = transfer(encoder, channels, source)
        self.start, self.seen = f"{portable_path(source.path, Path.cwd())}: {report}", source.seen
        print_once(f"model.init_from {source.path}: {report}")


def check_crop(crop: int) -> None:
    """Raise BraindinoError for crops that the network cannot halve five times."""
    if crop % STRIDE:
        raise BraindinoError(
            f"data.crop {crop}: the network halves crops five times; give a multiple of {STRIDE}."
        )


@rank_zero_only
def print_once(text: str) -> None:
    """Print a line on the first process; the command silences Lightning's own messages."""
    print(text, flush=True)
