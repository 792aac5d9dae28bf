"""The published recipe: defaults of the code and the shipped configs against FlexiCT's files, by number.

Source of each number: docs/method.md "Pretraining"; FlexiCT's `fleximeddinov3_b_ct_pretrain.yaml` (stage 1),
`fleximeddinov3_b_ct_highres.yaml` (stage 2) and `SimpleDataAugmentationDINO` (intensity).
"""

import inspect
import math
from typing import Any

import pytest
import torch
import yaml

from braindino.cli.config.files import shipped_configs
from braindino.pretraining import DINOModule
from braindino.pretraining.config import GramConfig, LossConfig, TeacherConfig
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.model.rope import RopeConfig
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.intensity import IntensityConfig, gamma
from braindino.pretraining.views.masking import MaskConfig
from braindino.pretraining.views.views import ViewsConfig

EPOCH = 1000  # OFFICIAL_EPOCH_LENGTH
STAGE_1: dict[type[Any], dict[str, Any]] = {
    TeacherConfig: {
        "momentum": 0.994,
        "temperature_start": 0.04,
        "temperature": 0.07,
        "temperature_warmup_steps": 30 * EPOCH,
        "sinkhorn_iterations": 3,
    },
    LossConfig: {
        "dino": 1.0,
        "ibot": 1.0,
        "koleo": 0.1,
        "koleo_over_processes": False,
        "local_weight": 1.0,
        "student_temperature": 0.1,
    },
    OptimiserConfig: {
        "lr": 2e-4,
        "scaling_rule": "sqrt_wrt_1024",
        "warmup_steps": 30 * EPOCH,
        "warmup": "linear",
        "lr_final": None,
        "layer_decay": 0.9,
        "patch_embed_lr": 0.2,
        "weight_decay": 0.04,
        "weight_decay_final": None,
        "betas": (0.9, 0.999),
        "clip": 3.0,
        "freeze_prototypes_steps": 3 * EPOCH,
    },
    HeadConfig: {"prototypes": 65_536, "hidden": 2048, "bottleneck": 256, "layers": 3},
    MaskConfig: {"share": 0.5, "ratio": (0.1, 0.5)},
    RopeConfig: {"shift": None, "jitter": None, "rescale": 2.0},
    ViewsConfig: {
        "global_size": 256,
        "local_size": 112,
        "local_crops": 8,
        "global_scale": (0.32, 1.0),
        "local_scale": (0.05, 0.32),
        "flip": 0.5,
        "shared_intensity": True,
    },
    IntensityConfig: {
        "noise": 0.1,
        "noise_std": (0.0, 0.1),
        "smoothing": 0.2,
        "smoothing_sigma": (0.5, 1.0),
        "scaling": 0.15,
        "scaling_by": 0.25,
        "low_resolution": 0.25,
        "low_resolution_zoom": (0.5, 1.0),
        "gamma": 0.1,
        "gamma_power": (0.7, 1.5),
    },
    GramConfig: {"weight": 0.0},
}
STAGE_2: dict[str, Any] = {
    "views": {
        "global_size": [384, 512, 512, 512, 512],
        "local_size": [112, 112, 144, 168, 224],
        "gram_size": [512, 768, 768, 768, 768],
        "ratios": [0.3, 0.3, 0.3, 0.05, 0.05],
        "partial_patches": "drop",
        "flip": 0.0,
    },
    "gram": {"weight": 1.5},
    "losses": {"local_weight": 0.5, "koleo_over_processes": True},
    "teacher": {"momentum": 0.999, "temperature_start": 0.07, "temperature_warmup_steps": 0},
    "optimiser": {
        "lr": 5e-5,
        "scaling_rule": "sqrt_wrt_1024",
        "warmup_steps": 10 * EPOCH,
        "warmup": "cosine",
        "freeze_prototypes_steps": 0,
    },
}


@pytest.mark.parametrize("config", STAGE_1, ids=lambda config: config.__name__)
def test_recipe_of_stage_1_is_the_default(config: type[Any]) -> None:
    made = config()
    assert {name: getattr(made, name) for name in STAGE_1[config]} == STAGE_1[config]


def test_recipe_of_stage_1_has_the_released_encoder() -> None:
    """vit_base(drop_path_rate=0.2, layerscale_init=1e-5, n_storage_tokens=4, qkv_bias=False)."""
    defaults = {name: p.default for name, p in inspect.signature(DINOModule).parameters.items()}
    assert defaults["architecture"] == "vit_base_patch16_dinov3"
    assert (defaults["drop_path"], defaults["in_chans"], defaults["initialisation"]) == (0.2, 3, "dinov3")
    with torch.device("meta"):
        encoder = DINOModule(architecture="vit_base_patch16_dinov3", model_args={"depth": 1}).student.backbone
    assert (encoder.num_features, encoder.blocks[0].attn.num_heads) == (768, 12)
    assert encoder.num_prefix_tokens == 1 + 4
    assert encoder.blocks[0].attn.q_bias is None
    assert encoder.rope.temperature == 100


def test_recipe_of_stage_2_is_the_shipped_config() -> None:
    settings = yaml.safe_load(shipped_configs()["pretrain_highres.yaml"].read_text())
    model = settings["model"]["init_args"]
    assert {name: model[name] for name in STAGE_2} == STAGE_2
    assert (settings["trainer"]["max_steps"], settings["data"]["init_args"]["batch_size"]) == (
        100 * EPOCH,
        50,
    )


def test_recipe_of_stage_1_is_the_length_and_batch_of_its_config() -> None:
    settings = yaml.safe_load(shipped_configs()["pretrain.yaml"].read_text())
    assert (settings["trainer"]["max_steps"], settings["data"]["init_args"]["batch_size"]) == (
        1000 * EPOCH,
        100,
    )


def test_schedule_equals_dinov3s_step_by_step() -> None:
    """linear_warmup_cosine_decay: linear for 30 epochs; a cosine of 10 epochs from 0 to the end value."""
    first, second = OptimiserConfig(), OptimiserConfig(**STAGE_2["optimiser"])
    for step in (0, 1, 15_000, 29_999, 30_000, 999_999):
        expected = 2e-4 * min(step / 30_000, 1) * 4 * math.sqrt(800 / 1024)
        assert first.lr_schedule().at(step, math.inf) * first.scaling(800) == pytest.approx(expected)
    for step in (0, 1, 4_000, 9_999, 10_000, 99_999):
        passed = min(step / 9_999, 1)
        expected = 5e-5 * (1 - math.cos(math.pi * passed)) / 2 * 4 * math.sqrt(400 / 1024)
        assert second.lr_schedule().at(step, math.inf) * second.scaling(400) == pytest.approx(expected)


def test_intensity_gamma_equals_monais() -> None:
    from monai.transforms import AdjustContrast

    slices = torch.randn(2, 20, 24, generator=torch.Generator().manual_seed(0)) * 2 + 1
    for one, power in zip(slices, (0.7, 1.5), strict=True):
        expected = AdjustContrast(power)(one[None])[0]
        torch.testing.assert_close(
            gamma(one[None], torch.tensor([power]))[0], torch.as_tensor(expected), rtol=1e-4, atol=1e-5
        )
