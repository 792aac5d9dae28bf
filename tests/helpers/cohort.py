"""Fixtures: a small synthetic cohort with its store, and an exported encoder, made once per session."""

from pathlib import Path

import pytest
import torch

from braindino.cli.main import main
from braindino.encoders.export import export
from braindino.encoders.vit import create_vit
from braindino.scans.store.store import Store


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ADNI/`, `adni.csv` and a `store/` of 8 slices of 16 x 16 per scan."""
    folder = tmp_path_factory.mktemp("cohort")
    scans, manifest, store = str(folder / "ADNI"), str(folder / "adni.csv"), str(folder / "store")
    assert main(["synth", scans, "--dataset", "adni", "--people", "18"]) == 0
    assert main(["index", scans, "--dataset", "adni", "--out", manifest]) == 0
    assert main(["prepare", manifest, "--store", store, "--depth", "8", "--size", "16"]) == 0
    return folder


@pytest.fixture(scope="session")
def encoder(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported encoder with random weights for the cohort's store: 4 x 4 patches, 48 features."""
    folder = tmp_path_factory.mktemp("encoder")
    name = "vit_tiny_patch16_dinov3_qkvb"
    arguments = {
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 2,
        "patch_size": 4,
        "in_chans": 1,
        "init_values": 0.1,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = create_vit(name, **arguments).state_dict()
    contract = Store.open(cohort / "store").contract.to_dict()
    content = {
        "state_dict": {f"teacher.backbone.{key}": value for key, value in weights.items()},
        "encoder": {"architecture": name, "model_args": arguments, "preprocessing": contract},
        "global_step": 1,
    }
    torch.save(content, folder / "step0000001.ckpt")
    export(folder / "step0000001.ckpt", folder / "encoder")
    return folder / "encoder"
