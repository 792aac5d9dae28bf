"""Trainings of tiny networks on the volumes of tests/brainsegfounder and on the balls of `balls`.

Attributes:
    TINY: sizes of the encoder.
"""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from braindino.brainsegfounder import SwinSSLModule
from braindino.datasets import VolumeCases, VolumeDataModule
from tests.helpers.balls import ball_cohort

TINY: dict[str, Any] = {"depth": (1, 1, 1, 1), "width": 12, "heads": (1, 2, 4, 8), "window": 2}


def data_of(volumes: Path, **options: Any) -> VolumeDataModule:
    usual: dict[str, Any] = {
        "modalities": ("T1w",),
        "crop": 32,
        "crops_per_case": 1,
        "batch_size": 4,
        "num_workers": 0,
    }
    return VolumeDataModule(volumes, **(usual | options))


def train(
    module: SwinSSLModule,
    data: VolumeDataModule,
    steps: int,
    folder: Path,
    callbacks: list[Callback] | None = None,
    **options: Any,
) -> Trainer:
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(module, data, **options)
    return trainer


def segmentation_data(folder: Path, **options: Any) -> VolumeCases:
    return VolumeCases(ball_cohort(folder), **({"crop": 32, "batch_size": 2, "num_workers": 0} | options))


def segmentation_trainer(folder: Path, steps: int, **options: Any) -> Trainer:
    return Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0, **options,
    )  # fmt: skip
