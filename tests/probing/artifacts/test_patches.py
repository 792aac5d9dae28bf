"""Colours of patch tokens that a study keeps: of which scans, where, and that equal patches look alike."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from braindino.probing import ClassificationHead
from braindino.probing.artifacts.patches import PATCHES, SHOWN, write_patch_colours
from braindino.probing.data.cases import ProbeCases
from tests.helpers.planted import MemoryStore, TinyEncoder


class PatchEncoder(TinyEncoder):
    """Patches of 2 x 2 pixels, whose token is their mean, in three directions."""

    def __init__(self):
        super().__init__()
        self.patch_size = 2

    def patch_maps(self, slices, blocks):
        means = F.avg_pool2d(slices, 2)
        return [torch.cat([means, means**2, means**3], dim=1) for _ in blocks]


@pytest.fixture
def written(tmp_path, planted):
    data = planted()
    data.prepare_data()
    data.setup("fit")
    cases = ProbeCases.of(data, ClassificationHead(), "mask")
    scans = {key: np.array(scan) for key, scan in data.store.scans.items()}
    for scan in scans.values():
        scan[:, :2, :2] = 100  # background in the first patch of every slice
    write_patch_colours(tmp_path, PatchEncoder(), cases, MemoryStore(tmp_path, scans))
    with np.load(tmp_path / PATCHES, allow_pickle=False) as file:
        return cases, dict(file), tmp_path


def test_write_patch_colours_of_test_cases(written):
    cases, arrays, _ = written
    assert len(arrays["case"]) == SHOWN
    assert set(arrays["case"]) <= set(cases.part("test")["case"])
    assert (arrays["slice"] == 1).all()
    assert arrays["image"].shape == (SHOWN, 4, 4)
    assert not arrays["held"][:, 0, 0].any()
    assert arrays["held"].sum() == 3 * SHOWN
    assert (arrays["colours"][:, 0, 0] == 0).all()
    assert arrays["colours"].min() >= 0
    assert arrays["colours"].max() <= 1
    bright = arrays["image"].reshape(SHOWN, 2, 2, 2, 2).mean(axis=(2, 4))[arrays["held"]]
    first = arrays["colours"][arrays["held"]][:, 0]
    assert abs(np.corrcoef(bright, first)[0, 1]) > 0.8


def test_write_patch_colours_neither_overwrites_nor_needs_patch_tokens(written, tmp_path):
    cases, _, folder = written
    before = (folder / PATCHES).stat().st_mtime_ns
    write_patch_colours(folder, PatchEncoder(), cases, None)
    assert (folder / PATCHES).stat().st_mtime_ns == before
    write_patch_colours(folder / "other", TinyEncoder(), cases, None)
    assert not (folder / "other").exists()
