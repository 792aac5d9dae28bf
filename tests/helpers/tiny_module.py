"""A DINOModule small enough for tests: 2 blocks of 48, patches of 8, slices of 32 x 32."""

from typing import Any

import lightning.pytorch as pl

from braindino.pretraining import DINOModule
from braindino.pretraining.config import TeacherConfig
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.views import ViewsConfig
from tests.helpers import tiny_vit
from tests.helpers.tiny_vit import NAME as ARCHITECTURE

# Sizes for pretraining, where the number of channels is an argument of its own.
MODEL_ARGS = {name: value for name, value in tiny_vit.MODEL_ARGS.items() if name != "in_chans"}
MODEL_ARGS |= {"num_heads": 3, "img_size": 32, "init_values": 1.0}
HEAD = HeadConfig(prototypes=32, hidden=32, bottleneck=16, prototype_norm=1.0)
VIEWS = ViewsConfig(global_size=32, local_size=16, local_crops=2)


def tiny_module(**changes: Any) -> DINOModule:
    """Return a module with the same weights at every call."""
    pl.seed_everything(0, verbose=False)
    arguments: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "in_chans": 1,
        "model_args": MODEL_ARGS,
        "drop_path": 0.3,
        "views": VIEWS,
        "dino_head": HEAD,
        "ibot_head": HEAD,
        "teacher": TeacherConfig(momentum=0.9, temperature_warmup_steps=10),
        "optimiser": OptimiserConfig(lr=0.005, warmup_steps=2, freeze_prototypes_steps=0),
        "monitor_every": 2,
    }
    return DINOModule(**{**arguments, **changes})


def trainer(steps: int, **changes: Any) -> pl.Trainer:
    """Return a trainer on the CPU that prints nothing and writes no files."""
    arguments: dict[str, Any] = {
        "max_steps": steps,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(**{**arguments, **changes})
