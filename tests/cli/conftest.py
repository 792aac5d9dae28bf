"""A small synthetic cohort and its store, made once for all tests of the command."""

from pathlib import Path

import pytest

from braindino.cli.main import main


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ADNI/`, `adni.csv` and a `store/` of 8 slices of 16 x 16 per scan."""
    folder = tmp_path_factory.mktemp("cohort")
    scans, manifest, store = str(folder / "ADNI"), str(folder / "adni.csv"), str(folder / "store")
    assert main(["synth", scans, "--dataset", "adni", "--people", "18"]) == 0
    assert main(["index", scans, "--dataset", "adni", "--out", manifest]) == 0
    assert main(["prepare", manifest, "--store", store, "--depth", "8", "--size", "16"]) == 0
    return folder
