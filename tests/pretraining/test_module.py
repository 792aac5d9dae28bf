"""DINOModule in a Trainer: student and teacher, checkpoints, non-finite steps, refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining import DINOModule
from braindino.pretraining.config import LossConfig, TeacherConfig
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.masking import MaskConfig
from braindino.pretraining.views.views import ViewsConfig
from tests.helpers.slices import FakeSlices
from tests.helpers.tiny_module import ARCHITECTURE, MODEL_ARGS, VIEWS, tiny_module, trainer


class Recorder(pl.Callback):
    """Keep copies of the weights after every batch, and the metrics of every batch."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.students: list[dict[str, Tensor]] = []
        self.metrics: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, DINOModule)
        self.steps.append(trainer.global_step)
        self.students.append(copy_of(pl_module.student))
        self.metrics.append({k: v.item() for k, v in trainer.callback_metrics.items()})


def copy_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_teacher_is_the_moving_average_per_optimiser_step() -> None:
    """With two accumulated batches per step the average moves once per step: three times in six batches."""
    module, recorder = tiny_module(), Recorder()
    start, teacher_start = copy_of(module.student), copy_of(module.teacher)
    for name, value in teacher_start.items():
        assert torch.equal(value, start[name])  # the teacher starts as a copy
    trainer(3, accumulate_grad_batches=2, callbacks=[recorder]).fit(module, FakeSlices())
    assert recorder.steps == [0, 1, 1, 2, 2, 3]
    expected = {name: value.double() for name, value in teacher_start.items()}
    for after in recorder.students[1::2]:
        expected = {name: 0.9 * value + 0.1 * after[name].double() for name, value in expected.items()}
    for name, value in copy_of(module.teacher).items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-7)
        assert not torch.equal(recorder.students[-1][name], start[name]), name


def test_teacher_has_no_gradient_no_optimiser_state_and_stays_in_eval_mode() -> None:
    module = tiny_module()
    t = trainer(1)
    t.fit(module, FakeSlices())
    module.train()
    assert module.student.training
    assert not any(m.training for m in module.teacher.modules())
    assert not any(p.requires_grad for p in module.teacher.parameters())
    optimised = {id(p) for group in t.optimizers[0].param_groups for p in group["params"]}
    assert optimised == {id(p) for p in module.student.parameters()}


def test_student_parameters_all_get_a_gradient() -> None:
    module = tiny_module(views=ViewsConfig(global_size=32, local_size=16, local_crops=1))
    gradients: dict[str, bool] = {}

    class Look(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, module: Any, optimizer: Any) -> None:
            gradients.update((n, p.grad is not None) for n, p in module.student.named_parameters())

    trainer(1, callbacks=[Look()]).fit(module, FakeSlices())
    assert all(gradients.values())


@pytest.mark.parametrize(
    "changes", [{"masks": MaskConfig(share=0.0)}, {"views": ViewsConfig(32, local_crops=0, local_size=8)}]
)
def test_dino_module_trains_without_masks_or_local_crops(changes: dict[str, Any]) -> None:
    module, recorder = tiny_module(**changes), Recorder()
    trainer(2, callbacks=[recorder]).fit(module, FakeSlices())
    assert all(torch.tensor(m["train/loss"]).isfinite() for m in recorder.metrics)


def test_freeze_prototypes_steps_freezes_the_first_steps_only() -> None:
    config = OptimiserConfig(lr=0.005, warmup_steps=0, freeze_prototypes_steps=2)
    module, recorder = tiny_module(optimiser=config), Recorder()
    start = copy_of(module.student)
    trainer(4, callbacks=[recorder]).fit(module, FakeSlices())
    for head in ("dino_head", "ibot_head"):
        name = f"{head}.prototypes.weight"
        moved = [not torch.equal(weights[name], start[name]) for weights in recorder.students]
        assert moved == [False, False, True, True]
        assert not torch.equal(recorder.students[0][f"{head}.mlp.0.weight"], start[f"{head}.mlp.0.weight"])


def test_freeze_prototypes_steps_counts_their_gradient_in_clipping_and_adam() -> None:
    """DINOv3 gives the last layer the learning rate 0: all but its weights is as without freezing."""
    norms, averages = [], []
    for frozen in (0, 1):
        config = OptimiserConfig(lr=0.005, warmup_steps=0, freeze_prototypes_steps=frozen)
        module, recorder = tiny_module(optimiser=config), Recorder()
        t = trainer(1, callbacks=[recorder])
        t.fit(module, FakeSlices())
        norms.append(recorder.metrics[0]["train/grad_norm"])
        state = t.optimizers[0].state[module.student.dino_head.prototypes.weight]
        averages.append(state["exp_avg"].clone())
        assert state["step"].item() == 1
    assert norms[0] == norms[1]
    assert torch.equal(averages[0], averages[1])
    assert averages[0].abs().sum() > 0


def test_on_save_checkpoint_records_the_peak_learning_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    t = trainer(1)
    t.fit(tiny_module(), FakeSlices(batch_size=4))
    t.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)["pretraining"]
    assert content["peak_lr"] == pytest.approx(0.005 * 4 * (4 / 1024) ** 0.5)
    assert "peak learning rate 0.00125 = 0.005 x 4 sqrt(4 / 1024)" in capsys.readouterr().out
    trainer(2).fit(tiny_module(), FakeSlices(batch_size=8), ckpt_path=tmp_path / "last.ckpt")
    assert "it was 0.00125 until now" in capsys.readouterr().out


def test_on_before_optimizer_step_sets_the_schedules() -> None:
    config = OptimiserConfig(
        lr=0.02,
        scaling_rule="sqrt_wrt_reference",
        reference_batch=32,
        warmup_steps=2,
        weight_decay=0.1,
        layer_decay=0.5,
    )
    module, recorder = tiny_module(optimiser=config), Recorder()
    t = trainer(4, accumulate_grad_batches=2, callbacks=[recorder])
    t.fit(module, FakeSlices(batch_size=4))
    lr = [m["train/lr"] for m in recorder.metrics[1::2]]
    assert lr == pytest.approx([0.0, 0.005, 0.01, 0.01])  # 2 x 4 slices of 32: half the rate
    groups = t.optimizers[0].param_groups
    assert max(g["lr"] for g in groups) == pytest.approx(0.01)
    assert min(g["lr"] for g in groups) == pytest.approx(0.01 * 0.125 * 0.2)
    assert {g["weight_decay"] for g in groups} == {0.0, 0.1}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_dino_module_resumed_equals_an_uninterrupted_run_bit_for_bit(tmp_path: Path, accumulate: int) -> None:
    def run(steps: int, resume: Path | None = None) -> tuple[pl.Trainer, DINOModule]:
        pl.seed_everything(0, verbose=False)
        module = tiny_module(optimiser=OptimiserConfig(lr=0.005, lr_final=0.0, warmup_steps=2))
        if resume:
            torch.manual_seed(99)  # the state of torch's global generator must not matter
        t = trainer(6, accumulate_grad_batches=accumulate, callbacks=[Stop(steps)])
        t.fit(module, FakeSlices(), ckpt_path=resume)
        return t, module

    class Stop(pl.Callback):
        """Interrupt without changing the length of the run, which the cosine depends on."""

        def __init__(self, steps: int) -> None:
            self.steps = steps

        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            if trainer.global_step == self.steps:
                trainer.save_checkpoint(tmp_path / f"{self.steps}.ckpt")
                trainer.should_stop = True

    whole, expected = run(6)
    run(3)
    resumed, module = run(6, resume=tmp_path / "3.ckpt")
    assert_equal(copy_of(module), copy_of(expected))
    states = [t.optimizers[0].state_dict()["state"] for t in (whole, resumed)]
    for i in states[0]:
        assert_equal(*(state[i] for state in states))


def test_on_save_checkpoint_describes_the_encoder_in_plain_values(tmp_path: Path) -> None:
    module, data = tiny_module(), FakeSlices()
    t = trainer(1)
    t.fit(module, data)
    t.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["encoder"] == {
        "architecture": ARCHITECTURE,
        "model_args": {"in_chans": 1, **MODEL_ARGS},
        "preprocessing": data.contract.to_dict(),
    }
    names = checkpoint["state_dict"].keys()
    backbone = {n.removeprefix("teacher.backbone.") for n in names if n.startswith("teacher.backbone.")}
    assert backbone == module.teacher.backbone.state_dict().keys()
    assert {n.split(".")[1] for n in names if n.startswith("student.")} == {
        "backbone",
        "mask_token",
        "dino_head",
        "ibot_head",
    }


def spoil(data: FakeSlices, batches: set[int]) -> FakeSlices:
    """The slices of these batches decode to NaN."""
    data.slices = data.slices.half()
    for batch in batches:
        data.slices[batch * data.batch_size] = torch.nan
    return data


def test_dino_module_skips_and_counts_a_step_that_is_not_finite() -> None:
    module, recorder = tiny_module(), Recorder()
    teachers: list[dict[str, Tensor]] = []

    class Teachers(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *args: Any) -> None:
            teachers.append(copy_of(module.teacher))

    t = trainer(5, callbacks=[recorder, Teachers()])
    t.fit(module, spoil(FakeSlices(), {2, 3}))
    assert_equal(recorder.students[1], recorder.students[3])
    assert_equal(teachers[1], teachers[3])
    assert not torch.equal(recorder.students[4]["mask_token"], recorder.students[3]["mask_token"])
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert module.guard.skipped == 2
    assert [m["train/skipped_steps"] for m in recorder.metrics] == [0, 0, 1, 2, 2]


def test_dino_module_ends_after_three_steps_in_a_row_that_are_not_finite() -> None:
    with pytest.raises(
        BraindinoError, match=r"stopped at step 4: 3 steps in a row .*loss nan.*gradient norm nan"
    ):
        trainer(8).fit(tiny_module(), spoil(FakeSlices(), {0, 2, 3, 4}))


def test_validation_step_is_deterministic_and_changes_nothing() -> None:
    module = tiny_module()
    before = copy_of(module)
    t = trainer(1, limit_val_batches=2)
    first, second = (t.validate(module, FakeSlices(), verbose=False)[0] for _ in range(2))
    assert first == second
    assert_equal(copy_of(module), before)
    assert {
        "val/loss",
        "val/dino",
        "val/ibot",
        "val/koleo",
        "val/rankme",
        "val/teacher_entropy",
    } <= first.keys()


def test_dino_module_logs_its_losses_and_measurements() -> None:
    recorder = Recorder()
    trainer(4, callbacks=[recorder]).fit(tiny_module(), FakeSlices())
    losses = "loss dino ibot koleo dino_over_lnk dino_kl teacher_entropy feature_std rankme"
    further = "grad_norm lr weight_decay momentum teacher_temperature slices_per_second data_wait"
    assert {f"train/{name}" for name in f"{losses} {further}".split()} <= recorder.metrics[-1].keys()
    last = recorder.metrics[-1]
    assert last["train/loss"] == pytest.approx(
        last["train/dino"] + last["train/ibot"] + 0.1 * last["train/koleo"], rel=1e-5
    )
    assert last["train/slices_per_second"] > 0


def test_monitor_every_measures_the_steps_that_are_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    t = trainer(8, logger=logger, log_every_n_steps=4)
    t.fit(tiny_module(monitor_every=4), FakeSlices())
    rows = pd.read_csv(tmp_path / "metrics.csv").dropna(subset="train/rankme")
    assert list(rows["step"]) == [3, 7]
    assert rows[["train/teacher_entropy", "train/dino_kl", "train/feature_std"]].notna().all(axis=None)


def test_loss_config_weights_are_applied() -> None:
    recorder = Recorder()
    module = tiny_module(losses=LossConfig(dino=0.5, ibot=0.0, koleo=2.0))
    trainer(1, callbacks=[recorder]).fit(module, FakeSlices())
    m = recorder.metrics[0]
    assert m["train/loss"] == pytest.approx(0.5 * m["train/dino"] + 2 * m["train/koleo"], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_clip_val": 1.0}, "model.optimiser.clip"),
        ({"precision": "bf16-true"}, "bf16-mixed or 32-true"),
    ],
)
def test_check_trainer_refuses_settings_that_break_the_method(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BraindinoError, match=message):
        trainer(1, **settings).fit(tiny_module(), FakeSlices())


def test_contract_of_refuses_slices_that_patches_do_not_divide() -> None:
    data = FakeSlices()
    data.contract = replace(data.contract, size=(36, 32))
    with pytest.raises(BraindinoError, match=r"36 x 32.*\n?.*patches of 8"):
        trainer(1).fit(tiny_module(), data)


def test_dino_module_refuses_data_without_contract_and_a_cosine_without_end() -> None:
    data = FakeSlices()
    data.contract = None  # type: ignore[assignment]
    with pytest.raises(BraindinoError, match="contract"):
        trainer(1).fit(tiny_module(), data)
    module = tiny_module(teacher=TeacherConfig(momentum_final=1.0))
    with pytest.raises(BraindinoError, match=r"trainer\.max_steps"):
        trainer(-1, max_epochs=-1).fit(module, FakeSlices())


def test_dino_module_refuses_crops_that_patches_do_not_divide() -> None:
    with pytest.raises(BraindinoError, match=r"views\.global_size: 30"):
        tiny_module(views=ViewsConfig(global_size=30, local_size=16))


def test_partial_patches_drop_trains_on_whole_patches() -> None:
    """A global crop of 36 pixels is 4 x 4 patches of 8, a local one of 20 is 2 x 2."""
    views = ViewsConfig(global_size=36, local_size=20, local_crops=1, partial_patches="drop")
    module, recorder = tiny_module(views=views), Recorder()
    trainer(1, callbacks=[recorder]).fit(module, FakeSlices())
    assert torch.tensor(recorder.metrics[-1]["train/loss"]).isfinite()
    batch = {"slices": FakeSlices().slices[:4], "scale": torch.ones(4), "zero_point": torch.zeros(4)}
    seen, masks, _ = module.views_of(batch, 0)
    assert seen.global_crops.shape[-2:] == (32, 32)
    assert seen.local_crops.shape[-2:] == (16, 16)
    assert masks.mask.shape == (8, 16)


def test_dino_module_under_bfloat16_has_losses_and_weights_in_float32() -> None:
    module, recorder = tiny_module(views=VIEWS), Recorder()
    trainer(2, precision="bf16-mixed", callbacks=[recorder]).fit(module, FakeSlices())
    assert all(p.dtype == torch.float32 for p in module.parameters())
    assert torch.tensor(recorder.metrics[-1]["train/loss"]).isfinite()
