"""Progress of the epochs of a cell."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from braindino import progress
from braindino.probing.cell import QUIET
from braindino.probing.epoch_progress import show_epochs


class Line(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Tensor) -> Tensor:
        return (batch - self.weight).square().mean()

    def validation_step(self, batch: Tensor) -> None:
        self.log("val/loss", self.weight.square())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("show", [True, False])
def test_show_epochs_shows_epochs_and_metrics(
    show: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    make = show_epochs(lambda **options: Trainer(accelerator="cpu", **options), "seed 0", show)
    batches: DataLoader[Tensor] = DataLoader(torch.ones(4, 1))  # type: ignore[arg-type]
    make(max_epochs=2, callbacks=[], **QUIET).fit(Line(), batches, batches)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("seed 0")]
    assert bool(lines) == show
    if show:
        assert lines[0] == "seed 0, epochs at most: 0 of 2 (6 %)"
        assert any("val/loss 0." in line for line in lines)
        assert lines[-1].startswith("seed 0, epochs at most: 2 of 2 (100 %)")
