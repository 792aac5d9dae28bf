"""RecordPeople: a module that does not record people itself has them in its checkpoints all the same."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.encoders.weight_files import read_file
from braindino.scans.seen import Seen
from braindino.training.callbacks import RecordPeople
from tests.helpers.stores import make_store
from tests.helpers.tiny_module import tiny_module, trainer


class UserModule(pl.LightningModule):
    """A module that a user might write: one weight, and nothing recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return (self.weight * batch["slices"].float()).square().mean()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Measure nothing."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four people."""
    return make_store(tmp_path_factory.mktemp("people"), 4)


def seen_by(
    folder: Path, module: pl.LightningModule, checkpoint: Path, *excluded: str, **options: Any
) -> Seen:
    """Train for a step on all but the excluded people, and return what the checkpoint records."""
    exclude = checkpoint.with_suffix(".txt")
    exclude.write_text("\n".join(excluded) + "\n")
    data = SliceDataModule(folder / "store", batch_size=1, num_workers=0, exclude=exclude)
    t = trainer(options.pop("steps", 1), callbacks=options.pop("callbacks", None))
    t.fit(module, data, **options)
    t.save_checkpoint(checkpoint)
    seen = Seen.of_checkpoint(read_file(checkpoint))
    return seen or Seen(gaps=("nothing is recorded",))


def test_record_people_serves_a_module_that_records_nothing(folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "one.ckpt"
    assert seen_by(folder, UserModule(), checkpoint, "made:0").gaps == ("nothing is recorded",)
    seen = seen_by(folder, UserModule(), checkpoint, "made:0", "made:1", callbacks=[RecordPeople()])
    assert (seen.people, seen.gaps, len(seen.scans)) == ({"made:2", "made:3"}, (), 4)


def test_record_people_of_a_continued_run_keeps_those_of_before(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "one.ckpt", tmp_path / "two.ckpt"
    seen_by(folder, UserModule(), first, "made:0", "made:1", callbacks=[RecordPeople()])
    with pytest.warns(UserWarning, match="differ from those of the checkpoint"):
        seen = seen_by(
            folder, UserModule(), second, "made:1", "made:2", "made:3",
            callbacks=[RecordPeople()], steps=2, ckpt_path=first,
        )  # fmt: skip
    assert (seen.people, seen.gaps) == ({"made:0", "made:2", "made:3"}, ())


def test_dino_module_records_the_same_with_and_without_record_people(folder: Path, tmp_path: Path) -> None:
    without = seen_by(folder, tiny_module(), tmp_path / "one.ckpt", "made:0")
    beside = seen_by(folder, tiny_module(), tmp_path / "two.ckpt", "made:0", callbacks=[RecordPeople()])
    assert without == beside
    assert without.people == {"made:1", "made:2", "made:3"}
    assert not without.gaps
