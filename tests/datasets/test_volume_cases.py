"""3-D cases with masks: labels match voxels, splits are by person, fractions are nested."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from braindino.datasets import VolumeCases
from braindino.datasets.volume_cases import ProcessShare
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode
from tests.helpers.balls import ball_cohort, masked

__all__ = ["masked"]  # the fixture


def module(folder: Path, **options: Any) -> VolumeCases:
    usual = {"crop": 16, "batch_size": 2, "num_workers": 0}
    built = VolumeCases(ball_cohort(folder), **(usual | options))
    built.cases.prepare_data()
    built.setup()
    return built


def test_volume_cases_aligns_labels_with_voxels(masked: Path) -> None:
    data = module(masked, crops_per_case=2)
    for batch in data.train_dataloader():
        values = decode(batch["volumes"], batch["scale"], batch["zero_point"])
        assert values.shape == (4, 2, 16, 16, 16)
        assert batch["labels"].shape == (4, 16, 16, 16)
        for b in range(4):
            inside = batch["labels"][b] == 1
            if not inside.any():
                continue
            for name, sign in (("T1w", 1), ("FLAIR", -1)):
                channel = data.modalities.index(name)
                if batch["present"][b, channel]:
                    contrast = values[b, channel][inside].mean() - values[b, channel][~inside].mean()
                    assert sign * contrast > 1
                else:
                    assert (name, int(batch["case"][b])) == ("FLAIR", 3)
                    assert (values[b, channel] == 0).all()


def test_whole_cases_return_masks_and_case_numbers(masked: Path) -> None:
    data = module(masked)
    seen = []
    for batch in data.test_dataloader():
        case = int(batch["case"][0])
        seen.append(data.cases.cases.loc[case, "split"])
        np.testing.assert_array_equal(batch["labels"][0].numpy(), data.cases.mask_of(case))
        assert batch["volumes"].shape == (1, 2, 24, 24, 24)
    assert set(seen) == {"val", "test"}
    assert len(list(data.val_dataloader())) == seen.count("val")


def test_masked_crops_with_foreground_contain_labels(masked: Path) -> None:
    def share(foreground: float) -> float:
        data = module(masked, crop=6, foreground=foreground, steps_per_epoch=30)
        shares = [batch["labels"].flatten(1).any(dim=1).float().mean() for batch in data.train_dataloader()]
        return float(torch.stack(shares).mean())

    assert share(1.0) > 0.8 > 0.6 > share(0.0)


def test_volume_cases_draws_continue_after_a_restart(masked: Path) -> None:
    whole = list(module(masked, steps_per_epoch=4).train_dataloader())
    begun = module(masked, steps_per_epoch=4)
    loader = iter(begun.train_dataloader())
    next(loader)
    rest = module(masked, steps_per_epoch=4)
    rest.load_state_dict(begun.state_dict())
    for expected, batch in zip(whole[1:], rest.train_dataloader(), strict=True):
        for name, value in expected.items():
            assert torch.equal(value, batch[name]), name


def test_volume_cases_fractions_are_nested_and_affect_training_only(masked: Path) -> None:
    def people(fraction: float) -> dict[str, set[str]]:
        scans = module(masked, fraction=fraction).scans
        return {str(part): set(rows["group"]) for part, rows in scans.groupby("split")}

    small, half, all_ = (people(fraction) for fraction in (0.2, 0.5, 1.0))
    assert small["train"] < half["train"] < all_["train"]
    assert small["test"] == half["test"] == all_["test"]
    assert small["val"] == all_["val"]


def test_volume_cases_drops_a_case_that_lacks_a_modality(masked: Path) -> None:
    data = module(masked, missing="drop")
    assert data.excluded["reason"].tolist() == ["no FLAIR (data.missing: drop)"]
    assert len(data.scans) == len(module(masked).scans) - 1


def test_volume_cases_refuses_wrong_options(masked: Path) -> None:
    flat = VolumeCases(ball_cohort(masked, "flat", Preprocessing(depth=4, size=(8, 8))), num_workers=0)
    flat.cases.prepare_data()
    with pytest.raises(BraindinoError, match="prepared without a spacing"):
        flat.setup()
    with pytest.raises(BraindinoError, match=r"foreground 2: expected 0 to 1"):
        VolumeCases(ball_cohort(masked), foreground=2)


@pytest.mark.parametrize(("count", "world"), [(4, 1), (4, 2), (5, 3)])
def test_process_share_gives_each_case_to_one_process(count: int, world: int) -> None:
    shares = [list(ProcessShare(count, rank, world)) for rank in range(world)]
    assert sorted(case for share in shares for case in share) == list(range(count))
    assert [len(ProcessShare(count, rank, world)) for rank in range(world)] == [len(s) for s in shares]
