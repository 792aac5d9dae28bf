"""load_encoder: every form of a name, and every kind of a wrong file."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from braindino.encoders.checkpoints import encoder_label, load_encoder
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from tests.helpers.dinov3_names import timm_to_dinov3
from tests.helpers.tiny_vit import NAME, SCRATCH


def test_load_encoder_reads_a_lightning_checkpoint_and_a_run_folder(
    tmp_path: Path, checkpoint: dict[str, Any], encoder: ViTEncoder, slices: torch.Tensor
) -> None:
    path = tmp_path / "run" / "checkpoints" / "step0000007.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(checkpoint, path)
    for spec in (path, tmp_path / "run"):
        loaded = load_encoder(str(spec))
        assert torch.equal(loaded(slices), encoder(slices))
        assert loaded.preprocessing == encoder.preprocessing
        assert loaded.pretraining_people == {"ADNI:002_S_0001", "IXI:17"}


@pytest.mark.parametrize("wrap", ["bare", "model", "teacher"])
@pytest.mark.parametrize("architecture", [NAME, "vit_small_patch16_dinov3"])
def test_load_encoder_reads_dinov3_files(tmp_path: Path, wrap: str, architecture: str) -> None:
    model: Any = create_vit(architecture).eval()
    weights = timm_to_dinov3(dict(model.state_dict()))
    weights["rope_embed.periods"] = model.rope.periods.bfloat16()  # as the published files round them
    contents: dict[str, dict[str, Any]] = {
        "bare": weights,
        "model": {"model": weights},
        "teacher": {"teacher": {f"backbone.{k}": v for k, v in weights.items()}},
    }
    path = tmp_path / "dinov3.pth"
    torch.save(contents[wrap], path)
    contract = Preprocessing(depth=4, size=(32, 32))
    loaded = load_encoder(str(path), contract)
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(loaded(x), model(x.expand(-1, 3, -1, -1)))
    assert loaded.preprocessing == contract


def test_load_encoder_reads_safetensors(tmp_path: Path) -> None:
    model = create_vit(NAME, in_chans=1)
    safetensors.torch.save_file(dict(model.state_dict()), tmp_path / "w.safetensors")
    assert load_encoder(str(tmp_path / "w.safetensors")).embed_dim == 192


@pytest.mark.parametrize("wrap", ["bare", "model"])
@pytest.mark.parametrize("channels", [1, 3])
def test_load_encoder_reads_a_file_of_any_timm_vit(tmp_path: Path, wrap: str, channels: int) -> None:
    name = "vit_tiny_patch16_224"
    model = timm.create_model(name, in_chans=channels, dynamic_img_size=True).eval()  # with its classifier
    weights = dict(model.state_dict())
    torch.save(weights if wrap == "bare" else {"model": weights}, tmp_path / "w.pth")
    contract = Preprocessing(depth=4, size=(32, 48))
    loaded = load_encoder(f"{name}:{tmp_path / 'w.pth'}", contract)
    x = torch.randn(2, 1, 32, 48)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model.forward_features(x.expand(-1, channels, -1, -1))[:, 0])
    twin = loaded.untrained()
    assert twin is not None
    assert twin(x).shape == loaded(x).shape
    for spec, message in (
        (f"vit_small_patch16_224:{tmp_path / 'w.pth'}", "do not fit the architecture"),
        (f"{name}:{tmp_path / 'gone.pth'}", "no file"),
        (
            str(tmp_path / "w.pth"),
            "other ViT, e.g. --model.encoder vit_base_patch16_224:",
        ),
    ):
        with pytest.raises(BraindinoError, match=message):
            load_encoder(spec, contract)


def test_load_encoder_reads_dinov2_names(tmp_path: Path) -> None:
    name = "vit_small_patch14_reg4_dinov2"
    model = timm.create_model(name, num_classes=0, dynamic_img_size=True, img_size=28).eval()
    weights = {k.replace("reg_token", "register_tokens"): v for k, v in model.state_dict().items()}
    weights["pos_embed"] = torch.cat([torch.zeros(1, 1, 384), weights["pos_embed"]], dim=1)
    weights["mask_token"] = torch.zeros(1, 384)
    torch.save(weights, tmp_path / "dinov2.pth")
    loaded = load_encoder(f"{name}:{tmp_path / 'dinov2.pth'}", Preprocessing(depth=4, size=(28, 28)))
    with torch.inference_mode():
        x = torch.randn(2, 1, 28, 28)
        assert loaded(x).shape == (2, 384)
        assert torch.isfinite(loaded(x)).all()


def test_load_encoder_scratch_is_seeded(slices: torch.Tensor) -> None:
    state = torch.random.get_rng_state()
    name = SCRATCH
    a, b, c = load_encoder(name), load_encoder(name), load_encoder(name, seed=1)
    assert torch.equal(a(slices), b(slices))
    assert not torch.equal(a(slices), c(slices))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_load_encoder_untrained_is_the_network_with_random_weights(slices: torch.Tensor) -> None:
    name = SCRATCH
    encoder, twin = load_encoder(name, seed=3), load_encoder(f"untrained:{name}")
    untrained = encoder.untrained()
    assert untrained is not None
    assert twin.digest == untrained.digest != encoder.digest
    assert twin.seen is not None
    assert not twin.seen.people
    assert encoder_label("untrained:runs/pretrain/toy/") == "untrained-toy"
    assert encoder_label("runs/pretrain/toy") == "toy"
    with pytest.raises(BraindinoError, match="encoder 'nowhere'"):
        load_encoder("untrained:nowhere")


def test_load_encoder_rejects_pickled_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"model": Path("x")}, path)  # any class outside torch's allow-list
    with pytest.raises(BraindinoError, match=r"(?s)pathlib\..*unpickling") as caught:
        load_encoder(str(path))
    assert "False" not in str(caught.value)  # torch's own advice is to read it unsafely


def test_load_encoder_rejects_text(tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    path.write_text("# not weights\n", encoding="utf-8")
    with pytest.raises(BraindinoError, match=r"Unsupported operand 35\)\.") as caught:
        load_encoder(str(path))
    assert "False" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".ckpt", ".pth", ".safetensors"])
def test_load_encoder_rejects_damaged_files(tmp_path: Path, suffix: str, checkpoint: dict[str, Any]) -> None:
    path = tmp_path / f"cut{suffix}"
    whole = tmp_path / "whole.ckpt"
    torch.save(checkpoint, whole)
    path.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(BraindinoError, match="cut"):
        load_encoder(str(path))


def test_load_encoder_lists_weights_that_do_not_fit(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    del checkpoint["state_dict"]["teacher.backbone.norm.weight"]
    checkpoint["state_dict"]["teacher.backbone.extra"] = torch.zeros(1)
    path = tmp_path / "x.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(BraindinoError, match=r"1 missing: norm.weight; 1 unexpected: extra"):
        load_encoder(str(path))


def test_load_encoder_rejects_a_foreign_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(BraindinoError, match="braindino fit"):
        load_encoder(str(path))


def test_load_encoder_rejects_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="braindino export"):
        load_encoder(str(tmp_path / "nothing"))


def test_load_encoder_rejects_a_run_without_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(BraindinoError, match="saved nothing"):
        load_encoder(str(tmp_path))


def test_load_encoder_vit_of_a_fixed_size_takes_other_sizes(contract: Preprocessing) -> None:
    encoder = load_encoder("scratch:vit_tiny_patch16_224", contract.replace(size=(48, 32)))
    slices = torch.randn(2, 1, 48, 32)
    with torch.inference_mode():
        assert encoder(slices).shape == (2, 192)
        assert encoder.patch_maps(slices, [-1])[0].shape == (2, 192, 3, 2)
    twin = encoder.untrained()
    assert twin is not None
    assert twin(slices).shape == (2, 192)
