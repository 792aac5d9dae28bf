"""Files of weights: entries and prefixes around them, and other content in their place."""

import io
import logging
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from monai.networks.nets import ViT

from braindino.encoders.base import digest_of_weights
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.vit import create_vit
from braindino.encoders.weight_files import read_file, state_dict_of, vit_weights
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import NAME

CONTRACT = Preprocessing(depth=4, size=(32, 32))


def _tiny(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(create_vit(NAME).state_dict())


def _under(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in weights.items()}


def _saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def _bare(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    return vit_weights(state_dict_of(content, "w.pth"), "w.pth")


def _few(value: float) -> dict[str, torch.Tensor]:
    names = ("cls_token", "patch_embed.proj.weight", "blocks.0.attn.proj.weight")
    return {name: torch.full((1,), value) for name in names}


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."),
        *("backbone.", "module.backbone.", "teacher.backbone.", "model.encoder.", "backbone._orig_mod."),
        "backbone.module.",
    ],
)
def test_vit_weights_takes_off_prefixes(prefix: str) -> None:
    beside = {"dino_head.weight": torch.zeros(2)} if "backbone" in prefix else {}
    assert _bare({"model": {**_under(prefix, _few(1)), **beside}}) == _few(1)


def test_state_dict_of_takes_off_prefixes_inside_blocks() -> None:
    inside = {name.replace(".attn.", "._checkpoint_wrapped_module.attn."): v for name, v in _few(1).items()}
    assert _bare(inside) == _few(1)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": _few(0), "state_dict_ema": _few(1), "epoch": 3},
        {"model": _few(0), "model_ema": {"module": _few(1)}},
        {"model": _few(0), "ema": {"state_dict": _under("module.", _few(1)), "decay": 0.99}},
        {"model": _few(0), "teacher": _few(1)},
        {"student": _few(0), "teacher": _under("module.backbone.", _few(1))},
        {"state_dict": {**_under("student.", _few(0)), **_under("teacher.", _few(1))}},
        {"state_dict": {**_under("model.", _few(0)), **_under("model_ema.module.", _few(1))}},
    ],
)
def test_state_dict_of_prefers_averaged_weights(content: dict[str, Any]) -> None:
    assert _bare(content) == _few(1)


@pytest.mark.parametrize("named", ["", f"{NAME}:"])
def test_load_encoder_takes_averaged_weights_and_logs_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, named: str
) -> None:
    weights = _tiny(1)
    content = {"state_dict": _tiny(0), "state_dict_ema": _under("module._orig_mod.", weights)}
    with caplog.at_level(logging.WARNING):
        loaded = load_encoder(f"{named}{_saved(tmp_path / 'w.pth', content)}", CONTRACT)
    assert digest_of_weights(loaded.state_dict()) == digest_of_weights(_under("model.", weights))
    assert "took the averaged weights (state_dict_ema) and not state_dict" in caplog.text


def test_state_dict_of_passes_over_entries_without_tensors() -> None:
    weights = {"a": torch.zeros(1)}
    assert state_dict_of({"ema": {"decay": 0.9}, "state_dict": weights, "epoch": 1}, "x") == weights
    assert state_dict_of({"module.a": weights["a"], "epoch": 1}, "x") == weights


def test_vit_weights_rejects_two_alike() -> None:
    weights = {**_under("one.", _few(0)), **_under("two.", _few(1))}
    with pytest.raises(BraindinoError, match=r"2 vision transformers inside \('one\.', 'two\.'\)"):
        vit_weights(weights, "x.pth")
    with pytest.raises(BraindinoError, match=r"no vision transformer inside.*found features\.0"):
        vit_weights({"features.0": torch.zeros(1)}, "x.pth")


@pytest.mark.parametrize("prefix", ["module.backbone.", "_orig_mod.backbone.", "module._orig_mod.backbone."])
def test_volume_encoder_takes_off_prefixes(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(0)
    vit = ViT(1, (32, 32, 32), (16, 16, 16), hidden_size=64, mlp_dim=128, num_layers=2, num_heads=1)
    weights = {k: v for k, v in vit.state_dict().items() if "cross_attn" not in k}
    other = {k: v + 1 for k, v in weights.items()}
    plain = _saved(tmp_path / "plain.ckpt", {"state_dict": _under("backbone.", weights)})
    content = {"state_dict": _under("backbone.", other), "state_dict_ema": _under(prefix, weights)}
    wrapped = _saved(tmp_path / "w.ckpt", content)
    assert load_encoder(f"brainiac:{wrapped}").digest == load_encoder(f"brainiac:{plain}").digest


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 345\n",
            "git-lfs pointer.*git lfs pull",
        ),
        (b"/annex/objects/MD5E-s3--abc.pth\n", "git-annex pointer"),
        (b"\n<!DOCTYPE html><html><head></head></html>", "web page"),
        (b"<html>not found</html>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b'{"architecture": "vit"}', "JSON text"),
        (b"\x1f\x8b\x08\x00rest", "gzip archive"),
        (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
        (b"", "empty"),
    ],
)
def test_read_file_names_other_content(tmp_path: Path, suffix: str, content: bytes, reason: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(BraindinoError, match=f"(?s){path.name}: is .*{reason}") as caught:
        load_encoder(str(path))
    assert "run any code" not in str(caught.value)


def test_read_file_recognises_safetensors_by_content(tmp_path: Path) -> None:
    weights = {"a": torch.arange(3.0)}
    safetensors.torch.save_file(weights, tmp_path / "w.bin")
    assert torch.equal(read_file(tmp_path / "w.bin")["a"], weights["a"])
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    (tmp_path / "w.pt").write_bytes(buffer.getvalue())
    assert torch.equal(read_file(tmp_path / "w.pt")["a"], weights["a"])
