"""Transfer of Swin weights: all keys, channels by sequence, errors for what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from braindino.brainsegfounder.transfer import PATCH_KERNELS, channel_names, read_source, transfer
from braindino.encoders.volumes.swin import SwinShape, swin
from braindino.errors import BraindinoError

SHAPE = SwinShape(width=12, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=2)
BRATS = ("flair", "t1ce", "t1", "t2")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file as BrainSegFounder's stage 1 saves it."""
    torch.manual_seed(0)
    weights = {f"module.swinViT.{key}": value for key, value in swin(SHAPE).state_dict().items()}
    path = tmp_path_factory.mktemp("stage1") / "model_bestValRMSE.pt"
    torch.save({"state_dict": {**weights, "module.rotation_head.weight": torch.zeros(4, 192)}}, path)
    return path


def test_transfer_loads_126_of_126_keys_and_patches_by_sequence(published: Path) -> None:
    source = read_source(str(published))
    assert source.shape.channels == ("t1", "flair")
    assert source.shape.legacy_merging
    target = swin(replace(SHAPE, channels=BRATS))
    report = transfer(target, BRATS, source)
    assert len(report.loaded) == 126
    assert (report.inflated, report.missing, report.unexpected) == ((PATCH_KERNELS,), (), ())
    assert str(report) == f"126 loaded, 1 inflated ({PATCH_KERNELS}), 0 missing, 0 unexpected"
    kernels, given = target.state_dict()[PATCH_KERNELS], source.weights[PATCH_KERNELS]
    torch.testing.assert_close(kernels[:, 0], given[:, 1])  # flair <- flair
    torch.testing.assert_close(kernels[:, 1], given[:, 0])  # t1ce <- t1
    torch.testing.assert_close(kernels[:, 2], given[:, 0])  # t1 <- t1
    torch.testing.assert_close(kernels[:, 3], given.mean(dim=1))  # t2 <- mean
    for key, value in target.state_dict().items():
        if key != PATCH_KERNELS:
            assert torch.equal(value, source.weights[key]), key


def test_transfer_takes_equal_channels_as_they_are(published: Path) -> None:
    report = transfer(swin(SHAPE), SHAPE.channels, read_source(str(published)))
    assert report.inflated == ()


def test_read_source_rejects_another_prefix(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in swin(SHAPE).state_dict().items()}}, path)
    with pytest.raises(BraindinoError, match=r"no Swin encoder inside: no key begins with .*\(found model\."):
        read_source(str(path))


def test_transfer_rejects_another_depth_with_counts(published: Path) -> None:
    deeper = swin(replace(SHAPE, depths=(2, 2, 6, 2)))
    with pytest.raises(BraindinoError, match=r"depths \(2, 2, 2, 2\)(.|\n)*126 loaded.*56 missing \(layers3"):
        transfer(deeper, SHAPE.channels, read_source(str(published)))


def test_read_source_rejects_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no run folder and no file of weights"):
        read_source(str(tmp_path / "nowhere"))


def test_channel_names_are_sequences() -> None:
    assert channel_names(["FLAIR", "T1c", "T1w", "DWI"]) == ("flair", "t1ce", "t1", "DWI")
