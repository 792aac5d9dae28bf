"""Fixtures made once per session: a synthetic cohort with its store, an exported encoder."""

from pathlib import Path

import pytest

from braindino.cli.main import main
from braindino.scans.store.store import Store
from tests.helpers.tiny_vit import export_tiny


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `ADNI/`, `adni.csv` and a `store/` of 8 slices of 16 x 16 per scan."""
    folder = tmp_path_factory.mktemp("cohort")
    scans, manifest, store = str(folder / "ADNI"), str(folder / "adni.csv"), str(folder / "store")
    assert main(["synth", scans, "--dataset", "adni", "--people", "18"]) == 0
    assert main(["index", scans, "--dataset", "adni", "--out", manifest]) == 0
    assert main(["prepare", manifest, "--store", store, "--depth", "8", "--size", "16"]) == 0
    return folder


@pytest.fixture(scope="session")
def encoder(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported encoder with random weights for the cohort: 4 x 4 patches, 48 features."""
    folder = tmp_path_factory.mktemp("encoder")
    return export_tiny(folder, Store.open(cohort / "store").contract, patch_size=4, init_values=0.1)
