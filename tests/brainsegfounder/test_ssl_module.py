"""SwinSSLModule: losses fall on four fixed volumes, and a resumed run repeats the whole one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.nn import functional

from braindino.brainsegfounder import SwinSSLModule
from braindino.brainsegfounder.optimiser import GradientClipping, SwinOptimiserConfig
from braindino.brainsegfounder.ssl_module import nt_xent
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.volumes.swin import SwinEncoder
from braindino.encoders.weight_files import read_file
from braindino.errors import BraindinoError
from braindino.scans.preprocessing import decode
from tests.helpers.swin import TINY, data_of, train


class StopAt(Callback):
    """Saves after some steps and ends the run there."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def test_ssl_module_learns_each_task_on_four_fixed_volumes(volumes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    optimiser = SwinOptimiserConfig(lr=1e-3, warmup_steps=0)
    module = SwinSSLModule(**TINY, optimiser=optimiser)
    data = data_of(volumes)
    train(module, data, 24, tmp_path)
    batch = next(iter(data.train_dataloader()))
    module.eval()
    with torch.no_grad():
        values = [module.losses(batch, 1000 + i) for i in range(6)]
    mean = {name: float(torch.stack([each[name] for each in values]).mean()) for name in values[0]}
    crops = decode(batch["volumes"], batch["scale"], batch["zero_point"])
    assert mean["rotation_accuracy"] > 0.8  # chance: a quarter
    assert mean["rotation"] < 0.7 * math.log(4)
    assert mean["contrast"] < 0.85 * math.log(2 * 4 - 1)  # a constant network: ln 7
    assert mean["reconstruction"] < 0.9 * float(crops.abs().mean())  # an empty answer


def test_ssl_module_resumes_bit_for_bit(volumes: Path, tmp_path: Path) -> None:
    def fresh() -> SwinSSLModule:
        torch.manual_seed(0)
        return SwinSSLModule(**TINY, optimiser=SwinOptimiserConfig(warmup_steps=2))

    whole = fresh()
    train(whole, data_of(volumes, modalities=("T1w", "FLAIR")), 4, tmp_path)
    half = tmp_path / "half.ckpt"
    stopped = train(
        fresh(), data_of(volumes, modalities=("T1w", "FLAIR")), 4, tmp_path, callbacks=[StopAt(2, half)]
    )
    assert stopped.global_step == 2
    torch.manual_seed(99)
    rest = SwinSSLModule(**TINY, optimiser=SwinOptimiserConfig(warmup_steps=2))
    train(
        rest, data_of(volumes, modalities=("T1w", "FLAIR")), 4, tmp_path,
        ckpt_path=half, weights_only=True,
    )  # fmt: skip
    assert rest.batches == whole.batches == 4
    for (name, one), two in zip(whole.state_dict().items(), rest.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_nt_xent_equals_simclr() -> None:
    one, other = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    z = functional.normalize(torch.cat([one, other]), dim=1)
    total = 0.0
    for i in range(6):
        partner = (i + 3) % 6
        weights = [math.exp(float(z[i] @ z[k]) / 0.5) for k in range(6) if k != i]
        total -= math.log(math.exp(float(z[i] @ z[partner]) / 0.5) / sum(weights))
    assert float(nt_xent(one, other, 0.5)) == pytest.approx(total / 6)
    same = torch.ones(4, 5)
    assert float(nt_xent(same, same, 0.5)) == pytest.approx(math.log(7))


def test_lr_factor_warms_up_and_ends_at_zero() -> None:
    optimiser = SwinOptimiserConfig(warmup_steps=4)
    assert [optimiser.lr_factor(step, 12) for step in (0, 3)] == [0.25, 1.0]
    assert optimiser.lr_factor(4, 12) == 1.0
    assert optimiser.lr_factor(8, 12) == pytest.approx(0.5)
    assert optimiser.lr_factor(12, 12) == pytest.approx(0)
    assert optimiser.lr_factor(100, math.inf) == 1.0


def test_gradient_clipping_ends_the_run_after_three_steps_that_are_not_finite() -> None:
    layer, clip = torch.nn.Linear(2, 1), GradientClipping()
    for step in range(3):
        layer(torch.full((1, 2), math.nan)).sum().backward()
        if step < 2:
            assert not torch.isfinite(clip(layer, 1.0, step))
            assert layer.weight.grad is None
    with pytest.raises(BraindinoError, match="step 2: the gradient was not finite 3 times in a row"):
        clip(layer, 1.0, 2)


def test_load_encoder_reads_the_checkpoint_of_ssl_module(volumes: Path, tmp_path: Path) -> None:
    module = SwinSSLModule(**TINY)
    data = data_of(volumes)
    trainer = train(module, data, 1, tmp_path)
    trainer.save_checkpoint(tmp_path / "step0000001.ckpt")
    encoder = load_encoder(f"brainsegfounder:{tmp_path / 'step0000001.ckpt'}")
    assert isinstance(encoder, SwinEncoder)
    assert not encoder.shape.legacy_merging
    assert encoder.preprocessing == data.contract
    batch = next(iter(data.train_dataloader()))
    crops = decode(batch["volumes"], batch["scale"], batch["zero_point"])
    module.eval()
    with torch.no_grad():
        expected = module.encoder(crops)[-1].mean(dim=(2, 3, 4))
    torch.testing.assert_close(encoder(crops, ["T1w"] * 4), expected)
    with pytest.raises(BraindinoError, match="holds a 3-D Swin encoder; name it `brainsegfounder:"):
        load_encoder(str(tmp_path / "step0000001.ckpt"))


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({}, {"crop": 48}, "crop 48: the network halves crops five times; give a multiple of 32"),
        ({"width": 10}, {}, "width 10"),
        ({"heads": (5, 2, 4, 8)}, {}, "do not divide among them"),
    ],
)
def test_ssl_module_rejects_crops_and_sizes_that_do_not_fit(
    model: dict[str, Any], data: dict[str, Any], message: str, volumes: Path, tmp_path: Path
) -> None:
    with pytest.raises(BraindinoError, match=message):
        train(SwinSSLModule(**{**TINY, **model}), data_of(volumes, **data), 1, tmp_path)


def test_ssl_module_records_people_and_scans_of_both_stages(volumes: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a:0\na:1\n")
    first = data_of(volumes, exclude=tmp_path / "out", batch_size=2)
    one = train(SwinSSLModule(**TINY), first, 1, tmp_path)
    one.save_checkpoint(tmp_path / "one" / "checkpoints" / "step0000001.ckpt")
    (tmp_path / "out").write_text("a:1\na:2\na:3\n")
    second = data_of(volumes, exclude=tmp_path / "out", modalities=("T1w", "FLAIR"), batch_size=1)
    two = train(SwinSSLModule(**TINY, init_from=str(tmp_path / "one")), second, 1, tmp_path)
    two.save_checkpoint(tmp_path / "two.ckpt")
    seen = load_encoder(f"brainsegfounder:{tmp_path / 'two.ckpt'}").seen
    assert seen is not None
    assert (seen.people, seen.gaps) == ({"a:0", "a:2", "a:3"}, ())
    assert len(seen.scans) == 2 * (2 + 2)  # two scans of each stage, each by its file and its slices
    assert seen.scans == first.trained_on().scans | second.trained_on().scans
    content = read_file(tmp_path / "two.ckpt")
    del content["pretraining_people"]
    torch.save(content, tmp_path / "old.ckpt")
    three = train(SwinSSLModule(**TINY, init_from=str(tmp_path / "old.ckpt")), second, 1, tmp_path)
    three.save_checkpoint(tmp_path / "three.ckpt")
    seen = load_encoder(f"brainsegfounder:{tmp_path / 'three.ckpt'}").seen
    assert seen is not None
    assert seen.gaps == ("it started from old.ckpt, which does not record what it was trained on",)
