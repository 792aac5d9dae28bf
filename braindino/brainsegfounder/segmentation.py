"""SegmentationModule: segment tumours and lesions on volumes, evaluated case by case."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from braindino.analysis.metrics.surface_dice import TOLERANCE, check_tolerance
from braindino.brainsegfounder.base import VolumeModule, check_crop, print_once
from braindino.brainsegfounder.best_weights import BestWeights
from braindino.brainsegfounder.corruption import CropGenerators
from braindino.brainsegfounder.dice import RegionDice
from braindino.brainsegfounder.optimiser import SwinOptimiserConfig
from braindino.brainsegfounder.results import CaseRows, write_test_results
from braindino.datasets.masks import region_membership
from braindino.datasets.volume_cases import VolumeCases
from braindino.encoders.base import digest_of_weights
from braindino.errors import BraindinoError
from braindino.scans.preprocessing import decode

NORM_GROUPS = 4  # of the norm `group`
OVERLAP = 0.5  # of sliding windows (the authors' code)
MAX_CHANGE = 0.1  # largest relative change of scale and shift of intensities in training (the authors' code)


class SegmentationModule(VolumeModule):
    """Train a 3-D network on crops, with one sigmoid per region and Dice loss.

    The method is that of arXiv 2406.10395, "Fine-tuning". A subclass builds the network; crops, changes
    to them, loss, schedule and the choice of the weights are the same for all networks. Batches are those
    of `VolumeCases`. Validation slides windows of the crop's size over whole cases and logs `val/dice`
    and `val/dice_<region>`; see `RegionDice`. The weights of the best `val/dice` are saved as `best.ckpt`
    in the run folder. `braindino test` evaluates them once, in each scan's native space, and writes
    predictions.csv and results.json as a probe does.

    Args:
        norm: kind of norm of the convolutions; `instance` as published, `group` where the deepest map is a
            single voxel.
        optimiser: AdamW and its schedule.
        resamples: draws of people for the intervals of a test.
        nsd_tolerance: distance up to which surfaces agree, of the surface Dice [mm].
        options: see `VolumeModule`.

    Attributes:
        regions: names of the regions, one output channel each.
        step: optimiser step at which the loaded weights were saved.

    Raises:
        BraindinoError: `resamples` or `nsd_tolerance` below 0, or data without masks; see also
            `VolumeModule`.
    """

    next_command = "braindino test --config {run}/config.yaml --run.id {id}"

    def __init__(
        self,
        norm: Literal["instance", "group"] = "instance",
        optimiser: SwinOptimiserConfig = SwinOptimiserConfig(lr=1e-4, weight_decay=1e-5),  # noqa: B008 - frozen
        resamples: int = 2000,
        nsd_tolerance: float = TOLERANCE,
        **options: Any,
    ) -> None:
        super().__init__(optimiser=optimiser, **options)
        if resamples < 0:
            raise BraindinoError(f"model.resamples {resamples}: expected 0 or more.")
        self.norm, self.resamples = norm, resamples
        self.nsd_tolerance = check_tolerance(nsd_tolerance)
        self.step = 0
        self._rows: CaseRows | None = None

    # ----------------------------------------------------------------------------------------------- set-up

    @property
    def data(self) -> VolumeCases:
        """Return the data module of the run, or raise BraindinoError if it has no cases with masks."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, VolumeCases):
            raise BraindinoError(f"{type(self).__name__} needs cases with masks: data of VolumeCases.")
        return data

    def configure_model(self) -> None:
        """Build the network for the modalities and regions of the data, once."""
        if hasattr(self, "network"):
            return
        data = self.data
        check_crop(data.crop)
        self.regions = tuple(data.cases.regions)
        membership = torch.from_numpy(region_membership(data.cases.regions))
        self.register_buffer("membership", membership, persistent=False)
        self.dice = RegionDice(self.regions)
        self.network = self.build(data)

    def build(self, data: VolumeCases) -> nn.Module:
        """Return the network, (B, M, D, H, W) to logits (B, R, D, H, W).

        Args:
            data: the cases, after `setup`: their modalities are the channels.
        """
        raise NotImplementedError

    @property
    def weights_name(self) -> str:
        """Return the name of what the run started from, for results.json."""
        return self.init_from or "scratch"

    def norm_layer(self) -> tuple[str, dict[str, Any]]:
        """Return MONAI's name and options of the norm."""
        if self.norm == "group":
            return "group", {"num_groups": NORM_GROUPS}
        return "instance", {}

    def configure_callbacks(self) -> list[Callback]:
        """Save the weights of the best validation Dice."""
        return [BestWeights(self.trainer.default_root_dir)]

    # --------------------------------------------------------------------------------------------- training

    def forward(self, volumes: Tensor) -> Tensor:
        """Return one logit per region and voxel.

        Args:
            volumes: z-scored (B, M, D, H, W).

        Returns:
            Logits (B, R, D, H, W).
        """
        logits: Tensor = self.network(volumes)
        return logits

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the Dice loss of crops after random flips and intensity changes."""
        from monai.losses import DiceLoss

        volumes, labels = self._augment(batch, self.batches)
        self.batches += 1
        loss: Tensor = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6)(
            self(volumes).float(), self._region_masks(labels).float()
        )
        self.log("train/loss", loss.detach(), batch_size=len(labels))
        return loss

    def _augment(self, batch: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
        """Flip crops and their labels, and change intensities; random by the number of the batch."""
        volumes = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        random = CropGenerators.of(self.seed, number, self.global_rank, volumes.device).host
        flipped_volumes, flipped_labels = [], []
        for volume, label in zip(volumes, batch["labels"], strict=True):
            axes = [axis for axis in (-3, -2, -1) if random.random() < 0.5]
            flipped_volumes.append(volume.flip(axes))
            flipped_labels.append(label.flip(axes))
        volumes, labels = torch.stack(flipped_volumes), torch.stack(flipped_labels)
        shape = (2, *volumes.shape[:2], 1, 1, 1)
        scale, shift = volumes.new_tensor(random.uniform(-MAX_CHANGE, MAX_CHANGE, shape))
        return torch.where(volumes == 0, volumes, volumes * (1 + scale) + shift), labels

    def _region_masks(self, labels: Tensor) -> Tensor:
        """Return the masks (B, R, D, H, W) bool of labels (B, D, H, W)."""
        membership = self.get_buffer("membership")
        return membership[labels.long()].movedim(-1, 1)

    # ------------------------------------------------------------------------------------------- evaluation

    def masks(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Predict whole cases by windows of the crop's size that overlap by half.

        Args:
            batch: see `VolumeCases`.

        Returns:
            Masks (B, R, D, H, W) bool.
        """
        from monai.inferers import sliding_window_inference

        volumes = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        side = (self.data.crop,) * 3
        logits = sliding_window_inference(volumes, side, 1, self, OVERLAP, mode="gaussian")
        return torch.as_tensor(logits) > 0

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Add the Dice of one case on the store's grid."""
        self.dice.update(self.masks(batch), self._region_masks(batch["labels"]))

    def on_validation_epoch_end(self) -> None:
        """Log the Dice of all processes' cases; see `RegionDice` for regions that no case has."""
        scores = self.dice.compute()  # equal on all processes
        self.dice.reset()
        self.log_dict({f"val/{name}": value for name, value in scores.items()}, sync_dist=True)

    def on_test_start(self) -> None:
        """Raise BraindinoError for several processes, as one process writes one table."""
        if self.trainer.world_size > 1:
            raise BraindinoError("test: every case is evaluated once; give --trainer.devices 1.")
        self._rows = CaseRows(self.data, int(os.environ.get("PL_GLOBAL_SEED", "0")), self.nsd_tolerance)

    def test_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Compare one case's masks with the reference masks, in the scan's native space."""
        assert self._rows is not None
        self._rows.add(int(batch["case"][0]), self.masks(batch)[0].cpu().numpy())

    def on_test_epoch_end(self) -> None:
        """Write predictions.csv, results.json, cases.csv, dropped.csv into the run folder."""
        assert self._rows is not None
        folder = Path(self.trainer.default_root_dir)
        encoder = {
            "name": self.weights_name,
            "digest": digest_of_weights(self.network.state_dict()),
        }
        results = write_test_results(folder, self._rows, encoder, self.seen, self.step, self.resamples)
        for metric, estimate in results["summary"][0]["test"]["metrics"].items():
            if estimate["value"] is not None:  # no case has both masks that a distance needs
                self.log(f"test/{metric}", float(estimate["value"]))
        print_once(f"predictions.csv, results.json: {folder}")

    # ------------------------------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the number of batches, the start, the last validation Dice, and what was seen."""
        checkpoint["segmentation"] = {
            "batches": self.batches,
            "seed": self.seed,
            "start": self.start,
            "regions": list(self.regions),
            "dice": float(self.trainer.callback_metrics.get("val/dice", float("nan"))),
        }
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue with the next batch."""
        self.batches = int(checkpoint["segmentation"]["batches"])
        self.step = int(checkpoint["global_step"])
        super().on_load_checkpoint(checkpoint)
