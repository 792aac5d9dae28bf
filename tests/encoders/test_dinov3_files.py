"""DINOv3 files: sizes, positions and biases, with features equal to those of timm's model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.dinov3_files import identify_dinov3, rope_base
from braindino.encoders.vit import create_vit
from braindino.errors import BraindinoError
from braindino.pretraining.init_weights import load_backbone
from braindino.pretraining.model.backbone import create_backbone
from braindino.scans.contract import Preprocessing
from tests.helpers.dinov3_names import timm_to_dinov3
from tests.helpers.tiny_vit import NAME

CONTRACT = Preprocessing(depth=4, size=(32, 48))


def _file(path: Path, architecture: str = NAME, **arguments: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Write a timm model with LayerScale 1 and random biases as DINOv3 saves it."""
    torch.manual_seed(0)
    model = create_vit(architecture, **arguments).eval()
    for name, value in model.named_parameters():
        if "gamma" in name:
            value.data.fill_(1.0)
        if name.endswith("bias"):
            value.data.normal_(0, 0.1)
    weights = timm_to_dinov3(dict(model.state_dict()))
    weights["rope_embed.periods"] = model.rope.periods.clone()  # type: ignore[union-attr, operator]
    for name in [name for name in weights if name.endswith("attn.qkv.bias")]:
        third = len(weights[name]) // 3
        weights[f"{name}_mask"] = torch.ones(3 * third)
        weights[f"{name}_mask"][third : 2 * third] = 0
        weights[name][third : 2 * third] = 7.0  # switched off by the mask
    torch.save(weights, path)
    return model, weights


def _same_features(path: Path, model: torch.nn.Module, spec: str = "{}") -> dict[str, Any]:
    loaded = load_encoder(spec.format(path), CONTRACT)
    x = torch.randn(2, 1, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x.expand(-1, 3, -1, -1)))
    arguments: dict[str, Any] = loaded.model_args  # type: ignore[assignment]
    return arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"rope_temperature": 50.0}, {"rope_temperature": 50.0}),
        ({"patch_size": 8}, {"patch_size": 8}),
        ({"num_reg_tokens": 0}, {"num_reg_tokens": 0}),
        ({"num_heads": 6}, {"num_heads": 6}),
        ({"mlp_ratio": 2}, {"mlp_ratio": 2.0}),
    ],
)
def test_identify_dinov3_reads_arguments_from_weights(
    tmp_path: Path, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    model, _ = _file(tmp_path / "w.pth", **arguments)
    assert _same_features(tmp_path / "w.pth", model) == {"in_chans": 3, **expected}


@pytest.mark.parametrize("ending", ["", "_qkvb"])
def test_identify_dinov3_reads_swiglu(tmp_path: Path, ending: str) -> None:
    model, weights = _file(tmp_path / "w.pth", f"vit_small_plus_patch16_dinov3{ending}")
    assert "blocks.0.mlp.w1.weight" in weights
    assert _same_features(tmp_path / "w.pth", model) == {"in_chans": 3}


@pytest.mark.parametrize(
    ("width", "depth", "swiglu", "hidden", "name", "arguments"),
    [
        (1280, 32, True, 5120, "vit_huge_plus_patch16_dinov3", {}),
        (4096, 40, True, 8192, "vit_7b_patch16_dinov3", {}),
        (1024, 24, True, 4096, "vit_large_patch16_dinov3", {"swiglu_mlp": True, "swiglu_align_to": 8}),
        (1024, 24, False, 4096, "vit_large_patch16_dinov3", {}),
    ],
)
def test_identify_dinov3_names_large_sizes(
    width: int, depth: int, swiglu: bool, hidden: int, name: str, arguments: dict[str, Any]
) -> None:
    shapes = {
        "cls_token": (1, 1, width),
        "storage_tokens": (1, 4, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        f"blocks.0.mlp.{'w1' if swiglu else 'fc1'}.weight": (hidden, width),
        f"blocks.{depth - 1}.ls1.gamma": (width,),
    }
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    described = identify_dinov3(weights, "w.pth")
    assert described[:2] == (name, {"in_chans": 3, **arguments})


def test_identify_dinov3_rejects_other_sizes(tmp_path: Path) -> None:
    _file(tmp_path / "w.pth", depth=3)
    with pytest.raises(
        BraindinoError, match=r"width 192 and depth 3 is none of DINOv3's sizes.*1280x32 with SwiGLU"
    ):
        load_encoder(str(tmp_path / "w.pth"))


def test_identify_dinov3_rejects_unmasked_key_bias(tmp_path: Path) -> None:
    _, weights = _file(tmp_path / "w.pth")
    for name in [name for name in weights if name.endswith("_mask")]:
        del weights[name]
    torch.save(weights, tmp_path / "w.pth")
    for spec in ("{}", NAME + ":{}"):
        with pytest.raises(
            BraindinoError, match=r"blocks\.0\.attn\.qkv\.bias: its keys have a bias \(up to 7\)"
        ):
            load_encoder(spec.format(tmp_path / "w.pth"))


def test_identify_dinov3_rejects_weights_without_a_place_in_timm(tmp_path: Path) -> None:
    _, weights = _file(tmp_path / "w.pth")
    mask = "blocks.0.attn.qkv.bias_mask"
    periods = 0.1 * 600.0 ** torch.linspace(0, 1, 16)
    for changed, reason in (
        ({"rope_embed.periods": periods}, r"RoPE periods \(0.1 to 60\) are no powers of one base"),
        ({mask: torch.full_like(weights[mask], float("nan"))}, "bias_mask is not finite"),
        ({"cls_norm.weight": torch.ones(192)}, "a separate norm for CLS"),
    ):
        torch.save({**weights, **changed}, tmp_path / "w.pth")
        with pytest.raises(BraindinoError, match=reason):
            load_encoder(str(tmp_path / "w.pth"))


def test_load_encoder_named_dinov3_has_biases_and_positions(tmp_path: Path) -> None:
    model, _ = _file(tmp_path / "w.pth", rope_temperature=50.0)
    arguments = _same_features(tmp_path / "w.pth", model, NAME + ":{}")
    assert arguments == {"in_chans": 3, "rope_temperature": 50.0}
    _file(tmp_path / "s.pth", "vit_small_patch16_dinov3_qkvb")
    with pytest.raises(BraindinoError, match=r"unexpected: blocks\.0\.attn\.q_bias"):
        load_encoder(f"vit_small_patch16_dinov3:{tmp_path / 's.pth'}")


def test_rope_base_equals_the_closed_form() -> None:
    for base in (100.0, 10.0, 78.8, 10_000.0):
        for count in (4, 16):
            periods = base ** (torch.arange(count, dtype=torch.float64) / count)
            assert rope_base(periods) == base
            assert rope_base(periods.bfloat16().double()) == pytest.approx(base, rel=0.01)
    assert rope_base(torch.tensor([1.0, 2.0, 3.0, 100.0]).double()) is None
    assert rope_base(torch.tensor([1.0, float("nan")]).double()) is None


def test_load_backbone_rejects_other_positions(tmp_path: Path) -> None:
    _file(tmp_path / "w.pth", rope_temperature=50.0)
    backbone = create_backbone(NAME, in_chans=3)
    with pytest.raises(
        BraindinoError, match=r"RoPE of base 50; the model is .*RoPE of base 100.*(?s:.)*rope_temperature"
    ):
        load_backbone(str(tmp_path / "w.pth"), backbone, CONTRACT, "model.init_from")
    same = create_backbone(NAME, in_chans=3, rope_temperature=50.0)
    assert (
        "RoPE of base 50" in load_backbone(str(tmp_path / "w.pth"), same, CONTRACT, "model.init_from").report
    )
