"""Initial weights: what is loaded, from which sources, what is refused, and people recorded."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from braindino.datasets import SliceDataModule
from braindino.encoders import pretrained as published
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.export import export_encoder
from braindino.encoders.vit import create_vit
from braindino.encoders.weight_files import read_file
from braindino.errors import BraindinoError
from braindino.pretraining import DINOModule
from braindino.pretraining.config import GramConfig
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.views import ViewsConfig
from braindino.scans.seen import Seen
from tests.helpers.dinov3_names import timm_to_dinov3
from tests.helpers.slices import FakeSlices
from tests.helpers.stores import make_store
from tests.helpers.tiny_module import ARCHITECTURE, MODEL_ARGS, tiny_module, trainer


class People(pl.Callback):
    """Record people as the command does."""

    def __init__(self, *people: str) -> None:
        self.people = list(people)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["pretraining_people"] = self.people


def earlier_run(folder: Path, **changes: Any) -> tuple[Path, dict[str, Tensor]]:
    """Return the run folder and weights of two steps."""
    module = tiny_module(**changes)
    t = trainer(2, callbacks=[People("ADNI:1", "ADNI:2")])
    t.fit(module, FakeSlices())
    t.save_checkpoint(folder / "checkpoints" / "step0000002.ckpt")
    return folder, {k: v.clone() for k, v in module.state_dict().items()}


def started(source: Path | str, steps: int = 1, **changes: Any) -> DINOModule:
    """Return a module trained at learning rate 0: its weights are those that it started from."""
    module = tiny_module(init_from=str(source), optimiser=OptimiserConfig(lr=0.0, warmup_steps=0), **changes)
    trainer(steps).fit(module, FakeSlices())
    return module


def assert_part(module: DINOModule, weights: dict[str, Tensor], parts: tuple[str, ...], equal: bool) -> None:
    """Compare `parts` of student and teacher with the earlier teacher's."""
    state = module.state_dict()
    for part in parts:
        for name, value in weights.items():
            if name.startswith(f"teacher.{part}."):
                key = name.removeprefix("teacher.")
                student, teacher = state[f"student.{key}"], state[name]
                assert torch.equal(student, teacher), name
                assert torch.equal(student, value) is equal or (not equal and student.ndim < 2), name


def test_load_backbone_of_a_run_folder_is_its_teacher_with_heads_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, weights = earlier_run(tmp_path / "run")
    module = started(run)
    assert_part(module, weights, ("backbone",), True)
    assert_part(module, weights, ("dino_head", "ibot_head"), False)
    printed = capsys.readouterr().out
    assert "model.init_from: backbone of" in printed
    assert "step0000002.ckpt" in printed
    assert "2 or more people seen before" in printed  # FakeSlices lists no people
    module = started(run / "checkpoints" / "step0000002.ckpt", init_heads=True)
    assert_part(module, weights, ("backbone", "dino_head", "ibot_head"), True)
    assert torch.equal(module.student.mask_token, weights["student.mask_token"])
    assert "DINO head, iBOT head and mask token" in capsys.readouterr().out


def test_load_backbone_of_an_export_has_no_heads(tmp_path: Path) -> None:
    run, weights = earlier_run(tmp_path / "run")
    export_encoder(run, tmp_path / "encoder")
    assert_part(started(tmp_path / "encoder"), weights, ("backbone",), True)
    with pytest.raises(BraindinoError, match="contains no heads"):
        started(tmp_path / "encoder", init_heads=True)


def test_load_backbone_sums_kernels_of_three_channels_to_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model: Any = create_vit(ARCHITECTURE, dynamic_img_size=True).eval()
    path = tmp_path / "dinov3.pth"
    torch.save({"teacher": {f"backbone.{k}": v for k, v in timm_to_dinov3(model.state_dict()).items()}}, path)
    module = tiny_module(init_from=str(path), model_args={})
    module.trainer = trainer(1)
    module._contract = FakeSlices.contract.to_dict()
    module._load_start()
    x = torch.randn(2, 1, 32, 32)
    expected = model.forward_features(x.expand(-1, 3, -1, -1))[:, 0]
    torch.testing.assert_close(module.teacher.tokens(x)[0], expected, rtol=1e-4, atol=1e-5)
    assert "3 channels summed to 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_args": {**MODEL_ARGS, "depth": 1}}, "depth 2.*the model is .*depth 1.*\n.*'depth': 2"),
        ({"model_args": {**MODEL_ARGS, "patch_size": 16}}, "patch 8.*\n.*'patch_size': 8"),
        ({"in_chans": 3}, "1 channels.*3 channels.*\n.*model.in_chans: 1"),
        (
            {"init_heads": True, "dino_head": HeadConfig(prototypes=8, hidden=32, bottleneck=16)},
            r"dino_head of .* other sizes .*32, 16.*\n.*model.dino_head",
        ),
    ],
)
def test_load_backbone_refuses_what_does_not_fit_with_the_remedy(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run, _ = earlier_run(tmp_path / "run")
    with pytest.raises(BraindinoError, match=f"(?s){message}"):
        started(run, **changes)


def test_load_backbone_of_timms_published_weights_of_natural_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name that pretrain.yaml gives, of the smallest size that is published."""
    name = "vit_small_patch16_dinov3"
    torch.manual_seed(3)
    theirs = create_vit(name).state_dict()
    file = tmp_path / "model.safetensors"
    save_file(theirs, file)
    monkeypatch.setattr(published, "cached_weights", lambda _: file)
    changes: dict[str, Any] = {
        "architecture": name,
        "model_args": {},
        "views": ViewsConfig(32, local_size=16, local_crops=1),
    }
    module = started(f"hub:{name}.lvd1689m", in_chans=3, **changes)
    assert f"model.init_from: backbone of hub:{name}.lvd1689m" in capsys.readouterr().out
    for key, value in module.student.backbone.state_dict().items():
        assert torch.equal(value, theirs[key]), key


def test_load_backbone_refuses_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="nowhere"):
        started(tmp_path / "nowhere")
    with pytest.raises(BraindinoError, match=r"init_heads: needs model\.init_from"):
        tiny_module(init_heads=True)


def test_dino_module_continued_loads_no_start_again_and_keeps_its_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, weights = earlier_run(tmp_path / "run")
    module = tiny_module(init_from=str(run))
    t = trainer(2, callbacks=[People("IXI:7")])
    t.fit(module, FakeSlices())
    path = tmp_path / "second" / "checkpoints" / "step0000002.ckpt"
    t.save_checkpoint(path)
    content = read_file(path)
    assert content["pretraining_people"] == ["ADNI:1", "ADNI:2", "IXI:7"]
    (start,) = content["pretraining"]["starts"]
    assert start["digest"] == load_encoder(str(run)).digest
    (run / "checkpoints" / "step0000002.ckpt").unlink()  # it is not needed any more
    capsys.readouterr()
    again = tiny_module(init_from=str(run))
    t = trainer(3, callbacks=[People("IXI:7")])
    t.fit(again, FakeSlices(), ckpt_path=path)
    assert capsys.readouterr().out == ""
    t.save_checkpoint(path)
    content = read_file(path)
    assert content["pretraining"]["starts"] == [start]
    assert content["pretraining_people"] == ["ADNI:1", "ADNI:2", "IXI:7"]
    name = "teacher.backbone.blocks.0.attn.qkv.weight"
    assert not torch.equal(content["state_dict"][name], weights[name])


# ------------------------------------------------------------------------- people and scans, from Python


def fit_store(folder: Path, run: Path, steps: int = 1, ckpt_path: Path | None = None, **options: Any) -> Seen:
    """Train on a store without the command, and return what the checkpoint records."""
    exclude = options.pop("exclude", None)
    data = SliceDataModule(folder / "store", batch_size=4, num_workers=0, exclude=exclude)
    t = trainer(steps)
    t.fit(tiny_module(**options), data, ckpt_path=ckpt_path)
    t.save_checkpoint(run / "checkpoints" / f"step{steps:07d}.ckpt")
    seen = Seen.of_checkpoint(read_file(run / "checkpoints" / f"step{steps:07d}.ckpt"))
    assert seen is not None
    return seen


def test_dino_module_records_people_and_scans_without_the_command(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = make_store(tmp_path / "a", 5), make_store(tmp_path / "b", 3)
    (tmp_path / "all_but_2").write_text("made:0\nmade:1\nmade:3\nmade:4\n")
    first = fit_store(one, tmp_path / "one", exclude=tmp_path / "all_but_2")
    assert (first.people, first.gaps, len(first.scans)) == ({"made:2"}, (), 2)
    second = fit_store(two, tmp_path / "two", init_from=str(tmp_path / "one"))
    assert (second.people, second.gaps) == ({"made:0", "made:1", "made:2"}, ())
    assert first.scans < second.scans
    # a run that goes on with other data has seen both
    (tmp_path / "all_but_4").write_text("made:0\nmade:1\nmade:2\nmade:3\n")
    checkpoint = tmp_path / "one" / "checkpoints" / "step0000001.ckpt"
    with pytest.warns(UserWarning, match="differ from those of the checkpoint"):
        more = fit_store(one, tmp_path / "one", 2, checkpoint, exclude=tmp_path / "all_but_4")
    assert (more.people, more.gaps) == ({"made:2", "made:4"}, ())


def test_dino_module_marks_lists_that_cannot_be_known_as_incomplete(tmp_path: Path) -> None:
    folder = make_store(tmp_path, 4)
    model: Any = create_vit(ARCHITECTURE, dynamic_img_size=True).eval()
    path = tmp_path / "dinov3.pth"
    torch.save({"teacher": {f"backbone.{k}": v for k, v in timm_to_dinov3(model.state_dict()).items()}}, path)
    seen = fit_store(folder, tmp_path / "one", init_from=str(path), model_args={})
    assert seen.gaps == ("it started from dinov3.pth, which does not record what it was trained on",)
    assert len(seen.people) == 4
    # handed on by an export and by the next stage, and by a checkpoint of an earlier version
    export_encoder(tmp_path / "one", tmp_path / "encoder")
    assert "INCOMPLETE".lower() in (tmp_path / "encoder" / "README.md").read_text()
    assert load_encoder(str(tmp_path / "encoder")).seen.gaps == seen.gaps  # type: ignore[union-attr]
    two = fit_store(folder, tmp_path / "two", init_from=str(tmp_path / "encoder"), model_args={})
    assert two.gaps == seen.gaps
    checkpoint = tmp_path / "two" / "checkpoints" / "step0000001.ckpt"
    content = read_file(checkpoint)
    for name in ("pretraining_people", "pretraining_scans", "pretraining_gaps"):
        del content[name]
    torch.save(content, checkpoint)
    more = fit_store(folder, tmp_path / "two", 2, checkpoint, model_args={})
    assert more.gaps == ("it was continued from a checkpoint that does not record what it was trained on",)


def test_dino_module_records_the_people_of_the_gram_teacher(tmp_path: Path) -> None:
    run, _ = earlier_run(tmp_path / "run")
    views = ViewsConfig(global_size=32, local_size=16, local_crops=2, gram_size=64)
    gram = GramConfig(weight=1.0, teacher=str(run))
    seen = fit_store(make_store(tmp_path, 4), tmp_path / "two", gram=gram, views=views)
    assert {"ADNI:1", "ADNI:2", "made:0"} < seen.people
