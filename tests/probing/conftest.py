"""Fixtures of the probe's tests: planted data, a tiny encoder, a trainer, and cases with lesions."""

import pytest
from lightning.pytorch import Trainer

from tests.helpers.lesions import lesion_scans, lesions, vit_encoder
from tests.helpers.planted import PlantedData, PlantedSurvival, TinyEncoder

__all__ = ["lesion_scans", "lesions", "vit_encoder"]


@pytest.fixture
def planted(tmp_path):
    """Make planted data."""
    return lambda **options: PlantedData(tmp_path / "store", **options)


@pytest.fixture
def planted_survival(tmp_path):
    """Make planted survival data."""
    return lambda **options: PlantedSurvival(tmp_path / "store", **options)


@pytest.fixture
def encoder():
    return TinyEncoder()


@pytest.fixture
def make_trainer():
    def make(**overrides):
        return Trainer(accelerator="cpu", devices=1, **overrides)

    return make
