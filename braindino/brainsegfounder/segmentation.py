"""SwinUNETRModule, a LightningModule: SwinUNETR on tumours and lesions, evaluated case by case."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from braindino.brainsegfounder.corruption import CropGenerators
from braindino.brainsegfounder.module import shape_for
from braindino.brainsegfounder.optimiser import Clipping, SwinOptimiser
from braindino.brainsegfounder.results import CaseRows, write_results
from braindino.brainsegfounder.transfer import Transfer, channel_names, read_source, tell, transfer
from braindino.datasets.masks import region_membership
from braindino.datasets.volume_cases import VolumeCases
from braindino.encoders.base import digest_of_weights
from braindino.encoders.volumes.swin import DEPTHS, STRIDE, LegacyPatchMerging
from braindino.encoders.weight_files import read_file
from braindino.errors import BraindinoError
from braindino.files import portable_path
from braindino.scans.preprocessing import decode
from braindino.scans.seen import Seen
from braindino.training.people import record_seen, seen_until, unknown_start

OVERLAP = 0.5  # of sliding windows (the authors' code)
CHANGE = 0.1  # how far intensities are scaled and shifted in training (the authors' code)


class SwinUNETRModule(LightningModule):
    """SwinUNETR on crops, one sigmoid per region, Dice loss (arXiv 2406.10395, "Fine-tuning").

    Batches are those of `VolumeCases`. Validation slides windows of the crop's size over whole cases; the
    weights of the best mean Dice are kept as `best.ckpt` in the run folder. `braindino test` evaluates them
    once, in each scan's own space, and writes predictions.csv and results.json as a probe does.

    Args:
        depth: blocks per stage: `tiny` 2-2-2-2, `small` 2-2-6-2, `big` 2-2-18-2, or four numbers.
        width: features of the first stage, a multiple of 12.
        heads: attention heads per stage.
        window: side of the attention windows.
        norm: of the convolutions; `instance` as published, `group` where the deepest map is a single voxel.
        init_from: start the encoder from a pretraining run (folder or `.ckpt`) or a published BrainSegFounder
            file. Channels are matched by the names of the sequences.
        optimiser: AdamW and its schedule.
        activation_checkpointing: compute blocks again in the backward pass instead of keeping them.
        resamples: draws of people for the intervals of a test.
        seed: of flips and intensity changes (the weights follow `seed_everything`).
    """

    next_command = "braindino test --config {run}/config.yaml --run.id {id}"

    def __init__(
        self,
        depth: Literal["tiny", "small", "big"] | tuple[int, int, int, int] = "tiny",
        width: int = 48,
        heads: tuple[int, int, int, int] = (3, 6, 12, 24),
        window: int = 7,
        norm: Literal["instance", "group"] = "instance",
        init_from: str | None = None,
        optimiser: SwinOptimiser = SwinOptimiser(lr=1e-4, weight_decay=1e-5),  # noqa: B008 - frozen
        activation_checkpointing: bool = False,
        resamples: int = 2000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise BraindinoError(f"model.seed {seed}: must not be negative.")
        if resamples < 0:
            raise BraindinoError(f"model.resamples {resamples}: expected 0 or more.")
        self.depths = DEPTHS[depth] if isinstance(depth, str) else tuple(depth)
        self.width, self.heads_per_stage, self.window, self.norm = width, tuple(heads), window, norm
        self.init_from, self.optimiser_config = init_from, optimiser
        self.activation_checkpointing, self.resamples, self.seed = activation_checkpointing, resamples, seed
        self.step = 0  # at which the weights were saved that were loaded
        self.batches = 0  # trained on by this process since the start of the run, interruptions left out
        self.start = ""
        self.seen: Seen | None = Seen()  # by the start's weights; random ones have seen nothing
        self._seen_before: Seen | None = None  # by the run before it was continued
        self._clip = Clipping()
        self._dice: list[Tensor] = []
        self._rows: CaseRows | None = None

    # ----------------------------------------------------------------------------------------------- set-up

    @property
    def data(self) -> VolumeCases:
        """The data module of the run."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, VolumeCases):
            raise BraindinoError("SwinUNETRModule needs cases with masks: data of VolumeCases.")
        return data

    def configure_model(self) -> None:
        """Build the network for the data's modalities and regions, and load what it starts from."""
        if hasattr(self, "network"):
            return
        data = self.data
        if data.crop % STRIDE:
            raise BraindinoError(
                f"data.crop {data.crop}: the network halves crops five times; give a multiple of {STRIDE}."
            )
        self.regions = tuple(data.cases.regions)
        members = torch.from_numpy(region_membership(data.cases.regions))
        self.register_buffer("membership", members, persistent=False)
        source = None if self.init_from is None else read_source(self.init_from)
        channels = channel_names(data.modalities)
        self.shape = shape_for(
            channels, self.depths, self.width, self.heads_per_stage, self.window,
            legacy=source is not None and source.shape.legacy_merging,
        )  # fmt: skip
        self.network = self._swin_unetr(len(channels))
        if source is not None:
            report: Transfer = transfer(self.network.get_submodule("swinViT"), channels, source)
            self.start, self.seen = f"{portable_path(source.path, Path.cwd())}: {report}", source.seen
            tell(f"model.init_from {source.path}: {report}")

    def _swin_unetr(self, channels: int) -> torch.nn.Module:
        from monai.networks.nets import SwinUNETR

        return SwinUNETR(
            in_channels=channels, out_channels=len(self.regions), depths=self.shape.depths,
            num_heads=self.shape.heads, window_size=self.window, feature_size=self.width,
            norm_name=("group", {"num_groups": 4}) if self.norm == "group" else "instance",
            use_checkpoint=self.activation_checkpointing,
            downsample=LegacyPatchMerging if self.shape.legacy_merging else "mergingv2",
        )  # fmt: skip

    def configure_callbacks(self) -> list[Callback]:
        """Keeps the weights of the best validation Dice."""
        return [BestWeights(self.trainer.default_root_dir)]

    def configure_optimizers(self) -> Any:
        """See `SwinOptimiser`."""
        return self.optimiser_config.configure(self)

    # --------------------------------------------------------------------------------------------- training

    def forward(self, volumes: Tensor) -> Tensor:
        """(B, M, D, H, W) z-scored -> one logit per region and voxel (B, R, D, H, W)."""
        return self.network(volumes)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Dice loss of flipped and intensity-changed crops."""
        from monai.losses import DiceLoss

        volumes, labels = self._changed(batch, self.batches)
        self.batches += 1
        loss: Tensor = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6)(
            self(volumes).float(), self._members(labels).float()
        )
        self.log("train/loss", loss.detach(), batch_size=len(labels))
        return loss

    def _changed(self, batch: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
        volumes = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        random = CropGenerators.of(self.seed, number, self.global_rank, volumes.device).host
        flipped, mirrored = [], []
        for volume, label in zip(volumes, batch["labels"], strict=True):
            axes = [axis for axis in (-3, -2, -1) if random.random() < 0.5]
            flipped.append(volume.flip(axes))
            mirrored.append(label.flip(axes))
        volumes, labels = torch.stack(flipped), torch.stack(mirrored)
        shape = (2, *volumes.shape[:2], 1, 1, 1)
        scale, shift = volumes.new_tensor(random.uniform(-CHANGE, CHANGE, shape))
        return torch.where(volumes == 0, volumes, volumes * (1 + scale) + shift), labels

    def _members(self, labels: Tensor) -> Tensor:
        """Labels (B, D, H, W) -> (B, R, D, H, W) bool."""
        table = self.get_buffer("membership")
        return table[labels.long()].movedim(-1, 1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip; leave out a step that is not finite."""
        norm = self._clip(self, self.optimiser_config.clip, self.trainer.global_step)
        self.log_dict({"train/grad_norm": norm, "train/lr": optimizer.param_groups[0]["lr"]})

    # ------------------------------------------------------------------------------------------- evaluation

    def masks(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The masks (B, R, D, H, W) bool of whole cases, by windows of the crop's size that half overlap."""
        from monai.inferers import sliding_window_inference

        volumes = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        side = (self.data.crop,) * 3
        logits = sliding_window_inference(volumes, side, 1, self, OVERLAP, mode="gaussian")
        return torch.as_tensor(logits) > 0

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Dice per region of one case on the store's grid."""
        self._dice.append(grid_dice(self.masks(batch), self._members(batch["labels"])))

    def on_validation_epoch_end(self) -> None:
        """Log the mean Dice over the cases that have a region, of all processes, and per region."""
        dice = torch.cat([*self._dice, torch.zeros(0, len(self.regions), device=self.device)])
        self._dice.clear()
        sums = self.all_gather(torch.cat([dice.nansum(dim=0), dice.isfinite().sum(dim=0)]))
        sums = torch.as_tensor(sums).reshape(-1, 2, len(self.regions)).sum(dim=0)
        mean = sums[0] / sums[1]
        self.log("val/dice", mean.nanmean())
        for name, value in zip(self.regions, mean, strict=True):
            self.log(f"val/dice_{name}", value)

    def on_test_start(self) -> None:
        """One process writes one table."""
        if self.trainer.world_size > 1:
            raise BraindinoError("test: every case is evaluated once; give --trainer.devices 1.")
        self._rows = CaseRows(self.data, int(os.environ.get("PL_GLOBAL_SEED", "0")))

    def test_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Compare one case's masks with those that were drawn, in the scan's own space."""
        assert self._rows is not None
        self._rows.add(int(batch["case"][0]), self.masks(batch)[0].cpu().numpy())

    def on_test_epoch_end(self) -> None:
        """Write predictions.csv, results.json, cases.csv, dropped.csv into the run folder."""
        assert self._rows is not None
        folder = Path(self.trainer.default_root_dir)
        encoder = {
            "name": self.init_from or "scratch",
            "digest": digest_of_weights(self.network.state_dict()),
        }
        results = write_results(folder, self._rows, encoder, self.seen, self.step, self.resamples)
        for metric, found in results["summary"][0]["test"]["metrics"].items():
            if found["value"] is not None:  # nothing to measure a distance to
                self.log(f"test/{metric}", float(found["value"]))
        tell(f"predictions.csv, results.json: {folder}")

    # ------------------------------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the number of batches, where the weights came from, and what they have seen."""
        checkpoint["segmentation"] = {
            "batches": self.batches, "seed": self.seed, "start": self.start, "regions": list(self.regions),
            "dice": float(self.trainer.callback_metrics.get("val/dice", float("nan"))),
        }  # fmt: skip
        start = self.seen or unknown_start(str(self.init_from))
        record_seen(checkpoint, self.trainer, start, self._seen_before)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the next batch."""
        self.batches = int(checkpoint["segmentation"]["batches"])
        self._seen_before = seen_until(checkpoint)
        self.step = int(checkpoint["global_step"])


class BestWeights(ModelCheckpoint):
    """`best.ckpt`, the weights of the highest `val/dice`.

    A class of its own, because Lightning lets a module's callback replace the trainer's of the same class.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=folder, filename="best", monitor="val/dice", mode="max", save_top_k=1,
            save_weights_only=True, save_on_train_epoch_end=False, enable_version_counter=False,
        )  # fmt: skip

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the score to beat from `best.ckpt` where a run continues.

        The run's checkpoint was saved before the validation that followed it, whose score it lacks.
        """
        super().on_train_start(trainer, pl_module)
        path = Path(str(self.dirpath)) / "best.ckpt"
        if not trainer.global_step or not path.is_file():
            return
        score = torch.tensor(read_file(path)["segmentation"].get("dice", float("nan")))
        if score.isfinite() and (self.best_model_score is None or score > self.best_model_score):
            self.best_model_score = self.kth_value = score
            self.best_model_path = self.kth_best_model_path = str(path)
            self.best_k_models = {str(path): score}


def grid_dice(predicted: Tensor, truth: Tensor) -> Tensor:
    """Dice (B, R) of masks (B, R, D, H, W) bool; NaN where the truth is empty."""
    both, sizes = (predicted & truth).flatten(2).sum(-1), [m.flatten(2).sum(-1) for m in (predicted, truth)]
    whole = (sizes[0] + sizes[1]).clamp(min=1)
    return torch.where(sizes[1] > 0, 2 * both / whole, torch.nan)
