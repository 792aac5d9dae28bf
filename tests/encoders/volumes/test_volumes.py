"""3-D encoders: files in the published layouts, read key by key, and what comes out of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.volumes.base import VolumeEncoder
from braindino.encoders.volumes.bm_mae import BMMAEEncoder, BMMAEShape
from braindino.encoders.volumes.brainiac import BrainIACEncoder, BrainIACShape
from braindino.encoders.volumes.brainmvp import BrainMVPEncoder
from braindino.encoders.volumes.swin import SwinEncoder, SwinShape
from braindino.encoders.volumes.uniformer import UniFormer, UniFormerShape
from braindino.errors import BraindinoError

# The layouts are the published ones, the sizes are not: each is read back from the file.
SMALL: dict[str, VolumeEncoder] = {}


@pytest.fixture(params=["brainiac", "bm_mae", "brainmvp", "brainsegfounder"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def small(name: str) -> VolumeEncoder:
    if name not in SMALL:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            SMALL[name] = {
                "brainiac": lambda: BrainIACEncoder(BrainIACShape(32, 16, 128, 64, 2, 2)),
                "bm_mae": lambda: BMMAEEncoder(BMMAEShape(32, 16, 96, 32, 2, 1, ("t1", "flair"))),
                "brainmvp": lambda: BrainMVPEncoder(
                    UniFormerShape(widths=(16, 16, 64, 128), depths=(1, 2, 1, 1), ratio=2)
                ),
                "brainsegfounder": lambda: SwinEncoder(
                    SwinShape(width=12, depths=(1, 1, 2, 1), heads=(1, 2, 4, 8), window=2)
                ),
            }[name]()
    return SMALL[name]


def published(name: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return a checkpoint as the authors save it, with its other entries."""
    other = torch.zeros(3)
    if name == "brainiac":
        # Lightning's SimCLR run; MONAI's releases differ in the cross-attention that is never run.
        renamed = {f"backbone.{k}": v for k, v in weights.items() if "norm_cross_attn" not in k}
        alien = {"backbone.blocks.0.cross_attn.to_q.weight": other, "projection.0.weight": other}
        return {"state_dict": {**alien, **renamed}, "epoch": 3}
    if name == "bm_mae":
        return {**weights, "decoder.mask_token": other}
    if name == "brainmvp":
        renamed = {f"module.encoder.uniformer.{k}": v for k, v in weights.items()}
        return {"state_dict": {**renamed, "module.rep_template": other}, "current_epoch": 5, "val_best": 1.0}
    renamed = {f"module.swinViT.{k}": v for k, v in weights.items()}
    return {"state_dict": {**renamed, "module.rotation_head.weight": other}, "epoch": 7}


def volumes(encoder: VolumeEncoder, count: int = 2) -> Tensor:
    return torch.randn(count, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))


def test_load_volume_encoder_reads_every_key_of_the_published_layout(
    name: str, small: VolumeEncoder, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(published(name, small.network.state_dict()), path)
    read = load_encoder(f"{name}:{path}")
    assert isinstance(read, type(small))
    assert read.dimensions == 3
    if name == "brainmvp":  # its side is no property of the weights
        assert read.preprocessing.depth == 128
    if name == "brainsegfounder":
        assert read.shape.legacy_merging
    weights = small.network.state_dict()
    assert read.network.state_dict().keys() == weights.keys()
    for key, value in read.network.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=0, msg=key)
    assert load_encoder(f"{name}:{path}").digest == read.digest  # or cached features would be computed again
    modalities = ["T1w", "FLAIR"]
    with torch.inference_mode():
        features = read(volumes(read), modalities)
        assert features.shape == (2, read.embed_dim)
        torch.testing.assert_close(features, small(volumes(small), modalities))
        alone = read(volumes(read)[1:], modalities[1:])
    torch.testing.assert_close(features[1:], alone)
    assert features.isfinite().all()
    assert not torch.allclose(features[0], features[1])


def test_load_volume_encoder_rejects_another_network(name: str, small: VolumeEncoder, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {"model.fc.weight": torch.zeros(2, 2)}}, path)
    with pytest.raises(BraindinoError, match=r"weights\.pt: (no|not the weights of) .*"):
        load_encoder(f"{name}:{path}")
    weights = dict(small.network.state_dict())
    last = [key for key in weights if "norm" in key and "cross" not in key and key.endswith("weight")][-1]
    del weights[last]
    torch.save(published(name, weights), path)
    with pytest.raises(BraindinoError, match=f"1 missing: {last}"):
        load_encoder(f"{name}:{path}")


def test_load_volume_encoder_rejects_a_name_without_a_file(name: str) -> None:
    with pytest.raises(BraindinoError, match=r"there is no file 'nowhere.pt'(.|\n)*:scratch"):
        load_encoder(f"{name}:nowhere.pt")


def test_volume_encoder_untrained_has_the_same_shape(small: VolumeEncoder) -> None:
    twin, again = small.untrained(1), small.untrained(1)
    assert twin.digest == again.digest != small.digest
    assert twin.preprocessing == small.preprocessing
    assert twin.shape == small.shape


def test_volume_encoder_rejects_patch_maps(small: VolumeEncoder) -> None:
    with pytest.raises(BraindinoError, match="is a 3-D encoder"):
        small.patch_maps(volumes(small), [0])


def test_bm_mae_rejects_an_unknown_sequence() -> None:
    encoder = BMMAEEncoder(BMMAEShape(32, 16, 96, 32, 1, 1, ("t1", "flair")))
    with pytest.raises(BraindinoError, match=r"modality .PET.; it was trained on t1, flair"):
        encoder(volumes(encoder), ["T1", "PET"])
    with torch.inference_mode():
        one, other = (encoder(volumes(encoder, 1), [modality]) for modality in ("t1n", "T2-FLAIR"))
    assert not torch.allclose(one, other)


def test_volume_encoders_have_the_published_sizes() -> None:
    with torch.device("meta"):
        uniformer = UniFormer(UniFormerShape(channels=4))
        parameters = sum(p.numel() for p in uniformer.parameters())
    assert parameters == 22_040_000  # as counted for the published network with four channels
    with torch.device("meta"):
        from monai.networks.nets import ViT

        ours = BrainIACEncoder.build(BrainIACShape())
        theirs = ViT(1, (96, 96, 96), (16, 16, 16))  # MONAI's defaults are ViT-B
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


def test_uniformer_attends_by_softmax_and_halves_four_times() -> None:
    torch.manual_seed(0)
    network = UniFormer(UniFormerShape(widths=(8, 8, 16, 16), depths=(1, 1, 1, 1), head=8)).eval()
    attention: Any = network.get_submodule("blocks3.0.attn")
    tokens = torch.randn(2, 5, 16, dtype=torch.float32)
    query, key, value = attention.qkv(tokens).chunk(3, dim=-1)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        scores = (query[..., part] @ key[..., part].transpose(1, 2)) / 8**0.5
        heads.append(scores.softmax(-1) @ value[..., part])
    torch.testing.assert_close(attention(tokens), attention.proj(torch.cat(heads, -1)))
    assert network(torch.randn(1, 1, 32, 48, 16)).shape == (1, 16, 2, 3, 1)


def test_volume_encoders_take_the_first_token_or_the_mean_of_the_last_map(tmp_path: Path) -> None:
    vit = BrainIACEncoder(BrainIACShape(32, 16, 64, 64, 1, 1))
    scans = volumes(vit)
    torch.testing.assert_close(vit(scans), vit.network(scans)[0][:, 0])
    mvp = BrainMVPEncoder(UniFormerShape(widths=(8, 8, 64, 64), depths=(1, 1, 1, 1)))
    torch.testing.assert_close(mvp(scans), mvp.network(scans).flatten(2).mean(-1))


def test_volume_encoders_contracts(as_axes: Callable[[VolumeEncoder], str]) -> None:
    """Directions of the network's three axes, depth, and spacing."""
    contracts = {
        kind: (as_axes(encoder), encoder.preprocessing.depth, encoder.preprocessing.spacing)
        for kind, encoder in (
            ("brainiac", BrainIACEncoder(BrainIACShape(96, 48, 64, 64, 1, 1))),
            ("bm_mae", BMMAEEncoder(BMMAEShape(128, 64, 96, 64, 1, 1))),
            ("brainmvp", BrainMVPEncoder(UniFormerShape(widths=(8, 8, 64, 64), depths=(1, 1, 1, 1)))),
            ("swin", SwinEncoder(SwinShape(width=12, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=2))),
        )
    }
    assert contracts == {
        "brainiac": ("RAS", 96, None),
        "bm_mae": ("LPS", 128, 1.0),
        "brainmvp": ("SRA", 128, 1.0),
        "swin": ("RAS", 128, 1.0),
    }


@pytest.fixture
def as_axes() -> Callable[[VolumeEncoder], str]:
    def axes(encoder: VolumeEncoder) -> str:
        contract = encoder.preprocessing
        return "".join(contract.orientation[axis] for axis in contract.slice_axes)

    return axes
