"""PatchPictures and ViewPictures: their colours and files, and that training is not changed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.errors import BraindinoError
from braindino.pretraining import PatchPictures, ViewPictures
from braindino.pretraining.callbacks.drawing import grey, with_mask
from tests.helpers.slices import FakeSlices
from tests.helpers.stores import make_store
from tests.helpers.tiny_module import VIEWS, tiny_module, trainer


def test_with_mask_tints_masked_patches_only() -> None:
    image = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    mask = np.array([[True, False], [False, False]])
    tinted = with_mask(image, mask)
    assert (tinted[:4, :4, 0] > tinted[:4, :4, 1]).all()
    np.testing.assert_array_equal(tinted[4:], np.repeat(image[4:, :, None], 3, axis=2))
    assert grey(np.array([[-9.0, 0.5, 9.0]]), np.array([[0.0, 1.0]])).tolist() == [[0.0, 0.5, 1.0]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("pictures"), 6) / "store"


def test_pictures_are_in_the_run_folder_and_do_not_change_the_training(store: Path, tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [PatchPictures(every=2, slices=3), ViewPictures(every=2, slices=2)]):
        module = tiny_module(views=replace(VIEWS, local_crops=6))
        data = SliceDataModule(store, batch_size=4, num_workers=0)
        t = trainer(4, callbacks=callbacks, default_root_dir=tmp_path, accumulate_grad_batches=2)
        t.fit(module, data)
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == [
        "patches_step0000002.png",
        "patches_step0000004.png",
        "views_step0000000.png",
        "views_step0000002.png",
    ]
    for name in pictures:
        pixels = imread(tmp_path / "pictures" / name)
        assert pixels.shape[0] > 200
        assert pixels[..., :3].std() > 0.05  # not an empty page
    assert not torch.equal(
        torch.from_numpy(imread(tmp_path / "pictures" / pictures[0])),
        torch.from_numpy(imread(tmp_path / "pictures" / pictures[1])),
    )


def test_patch_pictures_refuses_data_without_a_store_before_the_first_step() -> None:
    with pytest.raises(BraindinoError, match="store of a SliceDataModule"):
        trainer(1, callbacks=[PatchPictures()]).fit(tiny_module(), FakeSlices())


@pytest.mark.parametrize("picture", [PatchPictures, ViewPictures])
def test_numbers_below_one_are_refused(picture: type) -> None:
    with pytest.raises(BraindinoError, match="at least 1"):
        picture(every=0)
