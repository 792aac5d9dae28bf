"""Stage 2: the frozen Gram teacher, its views and its loss; the mixture of resolutions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor

from braindino.encoders.weight_files import read_file
from braindino.errors import BraindinoError
from braindino.pretraining import DINOModule
from braindino.pretraining.config import GramConfig, LossConfig
from braindino.pretraining.losses.objective import distil
from braindino.pretraining.model.gram import GramTeacher
from braindino.pretraining.model.rope import RopeConfig
from braindino.pretraining.views.masking import MaskConfig, Masks, sample_masks
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import Resolution, Views, make_views
from tests.helpers.slices import FakeSlices, structured_slices
from tests.helpers.tiny_module import VIEWS, tiny_module, trainer

CPU = torch.device("cpu")
STAGE_2 = replace(VIEWS, gram_size=64, flip=0.5)


def raw(count: int = 4) -> dict[str, Tensor]:
    slices = structured_slices(count, 40)
    return {"slices": slices, "scale": torch.full((count,), 0.02), "zero_point": torch.full((count,), 40.0)}


@pytest.fixture(scope="module")
def stage_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder of two steps."""
    run = tmp_path_factory.mktemp("stage1")
    t = trainer(2)
    t.fit(tiny_module(), FakeSlices())
    t.save_checkpoint(run / "checkpoints" / "step0000002.ckpt")
    return run


def stage_2(run: Path, **changes: Any) -> DINOModule:
    arguments = {"views": STAGE_2, "gram": GramConfig(1.5), "init_from": str(run), "init_heads": True}
    return tiny_module(**{**arguments, **changes})


# ------------------------------------------------------------------------------------------------------ views


def test_make_views_gram_crops_are_larger_undistorted_global_crops() -> None:
    """Without intensity changes, a Gram crop of the same size is the global crop itself."""
    config = replace(STAGE_2, gram_size=32)
    views = make_views(raw(64), config, Randomness.of(0, 0, 0, CPU))
    assert views.gram_crops is not None
    same = (views.gram_crops == views.global_crops).all(dim=(2, 3, 4))
    assert same.any()
    assert not same.all()  # the distorted ones
    assert (same[0] == same[1]).all()  # changes are shared by the views of a slice
    large = make_views(raw(64), replace(config, gram_size=64), Randomness.of(0, 0, 0, CPU))
    assert large.gram_crops is not None
    assert large.gram_crops.shape == (2, 64, 1, 64, 64)
    assert torch.equal(large.global_crops, views.global_crops)  # no other draw changes
    halved = torch.nn.functional.avg_pool2d(large.gram_crops.flatten(0, 1), 2).view_as(views.gram_crops)
    correlation = torch.corrcoef(torch.stack([halved.flatten(), views.gram_crops.flatten()]))[0, 1]
    assert correlation > 0.99


MIXTURE = replace(VIEWS, global_size=(32, 48), local_size=(16, 24), gram_size=(48, 64), ratios=(1.0, 3.0))


def test_draw_resolution_follows_seed_and_batch_on_all_processes_alike() -> None:
    def sizes(seed: int, batch: int, process: int) -> Resolution:
        return MIXTURE.draw_resolution(Randomness.of(seed, batch, process, CPU).shared)

    first = [sizes(0, batch, 0) for batch in range(400)]
    assert first == [sizes(0, batch, 3) for batch in range(400)]
    assert first != [sizes(1, batch, 0) for batch in range(400)]
    assert set(first) == {Resolution(32, 16, 48), Resolution(48, 24, 64)}
    assert np.mean([s.global_size == 48 for s in first]) == pytest.approx(0.75, abs=0.06)
    views = make_views(raw(2), MIXTURE, Randomness.of(0, 5, 0, CPU))
    expected = first[5]
    assert views.global_crops.shape[-1] == expected.global_size
    assert views.local_crops.shape[-1] == expected.local_size
    assert views.gram_crops is not None
    assert views.gram_crops.shape[-1] == expected.gram_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": (1.0,)}, "ratios 1"),
        ({"local_size": (8, 16, 24)}, "local_size 3"),
        ({"global_size": (32, 30)}, r"global_size: 30.*nearest is 32"),
        ({"gram_size": (64, 63)}, r"gram_size: 63"),
        ({"ratios": (1.0, -1.0)}, "no probabilities"),
        ({"global_size": 32, "local_size": 16, "gram_size": 32}, "the lengths are ratios 2"),
    ],
)
def test_views_config_refuses_lists_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BraindinoError, match=message):
        replace(MIXTURE, **changes).check(8)


# ------------------------------------------------------------------------------------------------------- loss


def cubic(x: float) -> float:
    """Return Keys' kernel with a = -0.75, as torch interpolates."""
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def slow_resize(image: np.ndarray, out: int) -> np.ndarray:
    """Resize (side, side, D) by a bicubic without antialiasing, edges repeated: loops in float64."""
    side = len(image)
    resized = np.zeros((out, out, image.shape[2]))
    for i in range(out):
        for j in range(out):
            y, x = (i + 0.5) * side / out - 0.5, (j + 0.5) * side / out - 0.5
            for r in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for c in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    pixel = image[min(max(r, 0), side - 1), min(max(c, 0), side - 1)]
                    resized[i, j] += cubic(y - r) * cubic(x - c) * pixel
    return resized


def views_and_masks(share: float) -> tuple[Views, Masks]:
    randomness = Randomness.of(0, 0, 0, CPU)
    views = make_views(raw(), STAGE_2, randomness)
    return views, sample_masks(8, (4, 4), MaskConfig(share=share), randomness.host)


def values_of(module: DINOModule, gram: GramTeacher, views: Views, masks: Masks) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return distil(
        module.student.eval(),
        module.teacher,
        views,
        masks,
        LossConfig(),
        0.05,
        3,
        generator,
        gram=(gram, 1.5),
    )


def test_gram_loss_of_distil_equals_the_slow_form_on_the_masked_student() -> None:
    """Similarities of all pairs of patches in float64, the teacher's map resized by four loops."""
    module = tiny_module(drop_path=0.0)
    pl.seed_everything(1, verbose=False)
    gram = GramTeacher(tiny_module().teacher.backbone)
    for parameter in gram.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    views, masks = views_and_masks(0.5)
    values = values_of(module, gram, views, masks)
    assert views.gram_crops is not None
    images = views.global_crops.flatten(0, 1)
    with torch.no_grad():
        tokens = module.student(images, masks.mask, None, images[:0], torch.Generator())[1].double().numpy()
        reference = gram.tokens(views.gram_crops.flatten(0, 1))[1].double().numpy()
    total = 0.0
    for student, teacher in zip(tokens, reference, strict=True):
        teacher = slow_resize(teacher.reshape(8, 8, -1), 4).reshape(16, -1)
        student = student / np.linalg.norm(student, axis=1, keepdims=True)
        teacher = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
        for p in range(16):
            for q in range(16):
                total += (student[p] @ student[q] - teacher[p] @ teacher[q]) ** 2
    assert values["gram"].item() == pytest.approx(total / (8 * 16 * 16), rel=1e-4)
    parts = values["dino"] + values["ibot"] + 0.1 * values["koleo"] + 1.5 * values["gram"]
    assert values["loss"].item() == pytest.approx(parts.item(), rel=1e-6)


def test_gram_loss_is_zero_for_equal_inputs_and_changes_no_other_loss() -> None:
    module = tiny_module(drop_path=0.0)
    gram = GramTeacher(module.teacher.backbone)
    views, masks = views_and_masks(0.0)
    views = replace(views, gram_crops=views.global_crops)
    values = values_of(module, gram, views, masks)
    assert values["gram"].item() == pytest.approx(0.0, abs=1e-12)
    views, masks = views_and_masks(0.5)
    values = values_of(module, gram, views, masks)
    assert values["gram"].item() > 1e-6
    without = distil(
        module.student, module.teacher, views, masks, LossConfig(), 0.05, 3, torch.Generator().manual_seed(0)
    )
    for name in ("dino", "ibot", "koleo"):
        torch.testing.assert_close(values[name], without[name])
    assert "gram" not in without


# --------------------------------------------------------------------------------------------------- training


def test_dino_module_of_stage_2_starts_from_stage_1_with_its_gram_teacher(
    stage_1: Path, tmp_path: Path
) -> None:
    start = {
        name.removeprefix("teacher.backbone."): value
        for name, value in read_file(stage_1 / "checkpoints" / "step0000002.ckpt")["state_dict"].items()
        if name.startswith("teacher.backbone.")
    }

    def assert_frozen(module: DINOModule) -> None:
        assert module.gram_teacher is not None
        for name, value in module.gram_teacher.backbone.state_dict().items():
            assert torch.equal(value, start[name]), name
        moved = module.teacher.backbone.state_dict()["blocks.0.attn.qkv.weight"]
        assert not torch.equal(moved, start["blocks.0.attn.qkv.weight"])

    module = stage_2(stage_1, rope=RopeConfig(rescale=2.0))
    t = trainer(2)
    t.fit(module, FakeSlices())
    assert t.callback_metrics["train/gram"] > 0
    assert_frozen(module)
    assert not any(m.training for m in module.gram_teacher.train().modules())  # type: ignore[union-attr]
    optimised = {id(p) for group in t.optimizers[0].param_groups for p in group["params"]}
    assert optimised == {id(p) for p in module.student.parameters()}
    path = tmp_path / "step0000002.ckpt"
    t.save_checkpoint(path)
    # Stage 1's run is not needed to continue.
    again = stage_2(tmp_path / "gone")
    trainer(3).fit(again, FakeSlices(), ckpt_path=path)
    assert_frozen(again)


def test_gram_config_names_another_teacher(stage_1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The backbone may then start from scratch."""
    module = stage_2(stage_1, init_from=None, init_heads=False, gram=GramConfig(1.5, str(stage_1)))
    fresh = module.student.backbone.state_dict()["cls_token"].clone()
    trainer(1).fit(module, FakeSlices())
    saved = read_file(stage_1 / "checkpoints" / "step0000002.ckpt")["state_dict"]
    assert module.gram_teacher is not None
    assert torch.equal(module.gram_teacher.backbone.cls_token, saved["teacher.backbone.cls_token"])
    assert torch.equal(module.student.backbone.cls_token, fresh)  # learning rate 0 at the first step
    assert "model.gram.teacher: backbone of" in capsys.readouterr().out
    assert len(module.starts) == 1


def test_dino_module_with_a_mixture_continues_bit_for_bit(stage_1: Path, tmp_path: Path) -> None:
    def run(steps: int, resume: Path | None = None) -> tuple[pl.Trainer, DINOModule]:
        module = stage_2(stage_1, views=MIXTURE)
        t = trainer(steps)
        t.fit(module, FakeSlices(batch_size=4), ckpt_path=resume)
        return t, module

    _, whole = run(4)
    t, _ = run(2)
    t.save_checkpoint(tmp_path / "2.ckpt")
    _, resumed = run(4, tmp_path / "2.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class Weights(pl.Callback):
    """Writes every process's state to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.filterwarnings("ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*")
def test_dino_module_start_is_equal_on_all_processes(stage_1: Path, tmp_path: Path) -> None:
    """The start is loaded after DDP has wrapped the module."""
    module = stage_2(stage_1, views=MIXTURE, losses=LossConfig(koleo_over_processes=True))
    t = trainer(3, strategy="ddp_fork", devices=2, callbacks=[Weights(tmp_path)])
    t.fit(module, FakeSlices(batch_size=4))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    start = read_file(stage_1 / "checkpoints" / "step0000002.ckpt")["state_dict"]
    name = "backbone.blocks.0.attn.qkv.weight"
    assert torch.equal(first[f"gram_teacher.{name}"], start[f"teacher.{name}"])
    assert not torch.equal(first[f"teacher.{name}"], start[f"teacher.{name}"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": None, "init_heads": False}, r"Set model\.init_from"),
        ({"views": VIEWS}, r"model\.views\.gram_size"),
        ({"gram": GramConfig()}, "would have no effect"),
        ({"gram": GramConfig(0.0, "run"), "views": VIEWS}, "would have no effect"),
    ],
)
def test_check_gram_refuses_incomplete_settings(stage_1: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BraindinoError, match=message):
        stage_2(stage_1, **changes)
