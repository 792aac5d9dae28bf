"""Training as a whole: it leaves the uniform solution, and processes stay equal under DDP."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from braindino.pretraining.config import TeacherConfig
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.model.rope import RopeConfig
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.masking import MaskConfig
from braindino.pretraining.views.views import ViewsConfig
from tests.helpers.slices import FakeSlices
from tests.helpers.tiny_module import tiny_module, trainer


class Metrics(pl.Callback):
    """Keep the metrics of every step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen.append({k.removeprefix("train/"): v.item() for k, v in trainer.callback_metrics.items()})

    def mean(self, name: str, last: int) -> float:
        return sum(m[name] for m in self.seen[-last:]) / last


def test_dino_module_training_starts_prototypes_and_preserves_rank() -> None:
    """A run that learns nothing stays at 1.00 of ln K, and iBOT at 0.5, as half of the crops are masked."""
    head = HeadConfig(prototypes=256, hidden=128, bottleneck=32, prototype_norm=1.0)
    module = tiny_module(
        drop_path=0.0,
        rope=RopeConfig(rescale=None),
        views=ViewsConfig(32, (0.7, 1.0), 16, (0.4, 0.9), local_crops=2),
        dino_head=head,
        ibot_head=head,
        teacher=TeacherConfig(momentum=0.95, temperature=0.02, temperature_start=0.02),
        optimiser=OptimiserConfig(
            lr=2e-3,
            warmup_steps=10,
            scaling_rule="sqrt_wrt_reference",
            reference_batch=32,
            layer_decay=1,
            patch_embed_lr=1,
            freeze_prototypes_steps=0,
        ),
        monitor_every=1,
    )
    metrics = Metrics()
    trainer(110, callbacks=[metrics]).fit(module, FakeSlices(512, batch_size=32))
    half_ln_k = 0.5 * torch.tensor(256.0).log().item()
    assert metrics.mean("dino_over_lnk", 20) < 0.975
    assert metrics.mean("ibot", 20) < 0.96 * half_ln_k
    assert metrics.mean("rankme", 20) > 8
    assert metrics.mean("feature_std", 20) > 0.7


class Sums(pl.Callback):
    """Write the weights' sums and the last loss of every process to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        sums = torch.stack([p.detach().double().sum() for p in pl_module.parameters()])
        loss = trainer.callback_metrics["train/loss"]
        torch.save((sums, loss), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.parametrize("share", [0.5, 0.0])
@pytest.mark.filterwarnings("ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*")
def test_dino_module_on_two_processes_has_other_views_and_equal_weights(tmp_path: Path, share: float) -> None:
    """Also when no patch is masked and the iBOT head has nothing to do."""
    module = tiny_module(masks=MaskConfig(share=share))
    trainer(3, strategy="ddp_fork", devices=2, callbacks=[Sums(tmp_path)]).fit(module, FakeSlices())
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(first[0], second[0])
    assert first[1] != second[1]
