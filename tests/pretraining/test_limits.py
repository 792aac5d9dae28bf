"""Every impossible setting is refused by its key, when the config is read."""

from collections.abc import Callable
from typing import Any

import pytest

from braindino.errors import BraindinoError
from braindino.pretraining import DINOModule
from braindino.pretraining.config import LossConfig, TeacherConfig
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.intensity import IntensityConfig
from braindino.pretraining.views.masking import MaskConfig
from braindino.pretraining.views.views import ViewsConfig


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            OptimiserConfig,
            {"lr": -1.0},
            "model.optimiser.lr: -1.0 is not possible; expected 0 or a number above it.",
        ),
        (OptimiserConfig, {"lr": float("nan")}, "model.optimiser.lr"),
        (OptimiserConfig, {"weight_decay": -0.1}, "model.optimiser.weight_decay"),
        (
            MaskConfig,
            {"share": 2.0},
            "model.masks.share: 2.0 is not possible; expected a number from 0 to 1.",
        ),
        (MaskConfig, {"ratio": (0.5, 0.1)}, "model.masks.ratio"),
        (TeacherConfig, {"sinkhorn_iterations": 0}, "model.teacher.sinkhorn_iterations"),
        (TeacherConfig, {"momentum": 1.5}, "model.teacher.momentum"),
        (LossConfig, {"student_temperature": 0.0}, "model.losses.student_temperature"),
        (ViewsConfig, {"local_crops": -1}, "model.views.local_crops"),
        (ViewsConfig, {"global_scale": (0.5, 1.5)}, "two rising numbers above 0, at most 1"),
        (IntensityConfig, {"noise": 1.1}, "model.views.intensity.noise"),
        (HeadConfig, {"prototypes": 0}, "model.head.prototypes"),
        (DINOModule, {"monitor_every": 0}, "model.monitor_every"),
        (DINOModule, {"drop_path": -0.1}, "model.drop_path"),
    ],
)
def test_limits_refuse_impossible_settings(
    make: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(BraindinoError) as caught:
        make(**arguments)
    assert message in str(caught.value)


def test_limits_accept_values_at_the_edge() -> None:
    ViewsConfig(local_crops=0, flip=0.0, global_scale=(1.0, 1.0))
    MaskConfig(share=0.0)
    TeacherConfig(momentum=1.0, momentum_final=None, temperature_warmup_steps=0)
    OptimiserConfig(warmup_steps=0, weight_decay=0.0)
