"""Crops of cases with several sequences are aligned and reproducible."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from braindino.datasets.pretraining.volumes import VolumeDataModule, crop_volume
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store

CONTRACT = Preprocessing.preset("volume", depth=14, size=(16, 12))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five people with T1w and FLAIR, the FLAIR twice the T1w; a sixth has no FLAIR."""
    folder = tmp_path_factory.mktemp("volumes")
    rows = []
    for person in range(6):
        values = np.random.default_rng(person).uniform(1, 2, (14, 16, 12)).astype(np.float32)
        for modality, factor in (("T1w", 1), ("FLAIR", 2)):
            if person == 5 and modality == "FLAIR":
                continue
            path = folder / f"{person}_{modality}.nii"
            nib.save(nib.Nifti1Image(factor * values, np.eye(4)), path)
            rows.append((str(path), "a", str(person), "", modality, f"a:{person}"))
    table = pd.DataFrame(rows, columns=["path", "dataset", "subject", "session", "modality", "group"])
    made = Store.create(folder / "store", CONTRACT)
    assert fill(made, table, progress=False).prepared == 11
    return made.path


def module(store: Path, **options: Any) -> VolumeDataModule:
    built = VolumeDataModule(store, **{"crop": 8, "batch_size": 2, "num_workers": 0} | options)
    built.setup()
    return built


def test_volumes_crops_sequences_at_the_same_place(store: Path) -> None:
    data = module(store, steps_per_epoch=9)
    seen = set()
    for batch in data.train_dataloader():
        assert batch["volumes"].shape == (4, 2, 8, 8, 8)
        values = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        for b in range(4):
            case = data.scans.iloc[int(batch["case"][b])]
            seen.add(case["subject"])
            if case["subject"] == "5":
                assert batch["present"][b].tolist() == [True, False]
                assert (values[b, 1] == 0).all()
                continue
            assert batch["present"][b].all()
            torch.testing.assert_close(
                values[b, 0], values[b, 1], atol=0.03, rtol=0
            )  # z-scores, in 255 levels
            whole = Store.open(store).slices(case["key_T1w"])
            windows = np.lib.stride_tricks.sliding_window_view(whole, (8, 8, 8)).reshape(-1, 512)
            assert (windows == batch["volumes"][b, 0].numpy().reshape(-1)).all(axis=1).any()
    assert seen == set("012345")


def test_volumes_crops_differ_within_a_case_and_between_passes(store: Path) -> None:
    data = module(store, steps_per_epoch=6)
    batches = list(data.train_dataloader())
    first, second = batches[0]["volumes"][0], batches[0]["volumes"][1]
    assert batches[0]["case"][0] == batches[0]["case"][1]
    assert not torch.equal(first, second)
    crops = torch.cat([batch["volumes"] for batch in batches])
    assert len({crop.numpy().tobytes() for crop in crops}) == len(crops)


def test_volumes_draws_depend_on_the_number_alone(store: Path) -> None:
    whole = [batch["volumes"] for batch in module(store, steps_per_epoch=4).train_dataloader()]
    data = module(store, steps_per_epoch=4)
    loader = iter(data.train_dataloader())
    next(loader)
    next(loader)
    rest = module(store, steps_per_epoch=4, num_workers=1)
    rest.load_state_dict(data.state_dict())
    for expected, batch in zip(whole[2:], rest.train_dataloader(), strict=True):
        assert torch.equal(expected, batch["volumes"])


def test_volumes_drop_cases_that_lack_a_sequence(store: Path) -> None:
    assert len(module(store).scans) == 6
    dropped = module(store, missing="drop")
    assert set(dropped.people()["group"]) == {f"a:{i}" for i in range(5)}


def test_volumes_pads_a_crop_larger_than_the_grid(store: Path) -> None:
    batch = next(iter(module(store, crop=16, modalities=("T1w",)).train_dataloader()))
    values = decode(batch["volumes"], batch["scale"], batch["zero_point"])
    assert values.shape == (4, 1, 16, 16, 16)
    assert (values[:, :, 14:] == 0).all()
    assert (values[:, :, :, :, 12:] == 0).all()
    assert (values[:, :, :14, :, :12] != 0).float().mean() > 0.95


def test_crop_volume_moves_a_box_into_the_grid(store: Path) -> None:
    opened = Store.open(store)
    key = opened.index()["key"].iloc[0]
    out = np.empty((8, 8, 8), np.uint8)
    crop_volume(opened, key, (-3, 20, 2), 7, out)
    np.testing.assert_array_equal(out, opened.slices(key)[:8, 8:16, 2:10])
    crop_volume(opened, "", (0, 0, 0), 7, out)
    assert (out == 7).all()


def test_volumes_refuse_wrong_options(store: Path) -> None:
    with pytest.raises(BraindinoError, match=r"no scan in .* is a 'T2w', only FLAIR, T1w"):
        module(store, modalities=("T2w",))
    with pytest.raises(BraindinoError, match="name each channel once"):
        module(store, modalities=("T1w", "T1w"))
    with pytest.raises(BraindinoError, match="crop 0: expected 1 or more"):
        module(store, crop=0)
