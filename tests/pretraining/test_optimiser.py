"""Parameter groups as a golden table, clipping per submodule, and skipped steps."""

from typing import Any

import pytest
import torch
from torch import nn

from braindino.errors import BraindinoError
from braindino.pretraining.model.backbone import create_backbone
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.model.network import Student
from braindino.pretraining.model.rope import RopeConfig
from braindino.pretraining.optimiser import OptimiserConfig, clip_gradients, create_optimiser, multipliers
from tests.helpers.tiny_module import ARCHITECTURE, HEAD, MODEL_ARGS

# learning rate and weight decay factors of a ViT with 2 blocks, layer decay 0.5, patch embedding x 0.2
GOLDEN = {
    "mask_token": (0.125, 0),
    "backbone.cls_token": (0.125, 0),
    "backbone.reg_token": (0.125, 0),
    "backbone.patch_embed.proj.weight": (0.025, 1),
    "backbone.patch_embed.proj.bias": (0.025, 0),
    "backbone.blocks.0.gamma_1": (0.25, 0),
    "backbone.blocks.0.norm1.weight": (0.25, 0),
    "backbone.blocks.0.attn.qkv.weight": (0.25, 1),
    "backbone.blocks.0.attn.q_bias": (0.25, 0),
    "backbone.blocks.1.mlp.fc1.weight": (0.5, 1),
    "backbone.blocks.1.mlp.fc1.bias": (0.5, 0),
    "backbone.norm.weight": (1, 0),
    "dino_head.mlp.0.weight": (1, 1),
    "dino_head.mlp.0.bias": (1, 0),
    "dino_head.prototypes.weight": (1, 1),
    "ibot_head.prototypes.weight": (1, 1),
}


def student() -> Student:
    backbone = create_backbone(ARCHITECTURE, 1, **MODEL_ARGS)
    return Student(backbone, HEAD, HeadConfig(16, 24, 8), RopeConfig(), 0.0, False)


def test_multipliers_equal_the_golden_table() -> None:
    config = OptimiserConfig(layer_decay=0.5, patch_embed_lr=0.2)
    parameters = dict(student().named_parameters())
    assert {name: multipliers(name, parameters[name], 2, config) for name in GOLDEN} == GOLDEN


def test_create_optimiser_has_every_parameter_in_one_group() -> None:
    model = student()
    optimiser = create_optimiser(model, 2, OptimiserConfig())
    grouped = [p for group in optimiser.param_groups for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("lr", "batch", "peak"),
    [(2e-4, 800, 7.0711e-4), (5e-5, 400, 1.25e-4)],  # method.md, stages 1 and 2
)
def test_optimiser_config_scales_the_published_rates(lr: float, batch: int, peak: float) -> None:
    assert OptimiserConfig(lr=lr).peak(batch) == pytest.approx(peak, rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"reference_batch": 1024},
        {"scaling_rule": "none", "reference_batch": 64},
        {"scaling_rule": "sqrt_wrt_reference"},
    ],
)
def test_optimiser_config_refuses_a_reference_batch_that_its_rule_does_not_use(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(BraindinoError, match=r"belongs to scaling_rule: sqrt_wrt_reference"):
        OptimiserConfig(**settings)


def test_optimiser_config_reports_its_rule_and_a_change_within_a_run() -> None:
    config = OptimiserConfig()
    assert config.report(800, False, None).startswith(
        "peak learning rate 0.000707 = 0.0002 x 4 sqrt(800 / 1024)"
    )
    assert "WARNING" not in config.report(800, False, None)
    assert config.report(800, True, config.peak(800)) == ""
    assert "4 times smaller" in config.report(800, True, None)
    assert "it was 0.000354 until now" in config.report(800, True, config.peak(200))
    earlier = OptimiserConfig(scaling_rule="sqrt_wrt_reference", reference_batch=64)
    assert earlier.report(64, False, None).startswith("peak learning rate 0.0002 = 0.0002 x sqrt(64 / 64)")
    assert earlier.report(64, True, None) == ""


def test_clip_gradients_is_per_part_and_leaves_small_gradients() -> None:
    large, small, idle = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    large.grad, small.grad = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    norm = clip_gradients([[large], [small], [idle]], 5.0)
    torch.testing.assert_close(large.grad, torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(small.grad, torch.tensor([0.3, 0.4]))
    torch.testing.assert_close(norm, torch.tensor(2500.25).sqrt())


def test_create_optimiser_skips_a_step_flagged_by_found_inf() -> None:
    model = nn.Linear(3, 2)
    optimiser = create_optimiser(model, 0, OptimiserConfig(lr=0.1))
    before = model.weight.detach().clone()
    for flag in (1.0, 0.0):
        for p in model.parameters():
            p.grad = torch.full_like(p, torch.nan if flag else 1.0)
        optimiser.found_inf = torch.tensor(flag)  # type: ignore[attr-defined]
        optimiser.step()
        assert torch.equal(model.weight, before) == bool(flag)
    assert optimiser.state[model.weight]["step"].item() == 1
