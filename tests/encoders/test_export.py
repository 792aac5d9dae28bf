"""Exported folders: complete, replaceable, with equal features in timm and braindino."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.export import export_encoder
from braindino.encoders.vit import ViTEncoder
from braindino.errors import BraindinoError
from tests.helpers.tiny_vit import NAME


@pytest.fixture
def run(tmp_path: Path, checkpoint: dict[str, Any]) -> Path:
    folder = tmp_path / "runs" / "pretrain" / "a"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(checkpoint, folder / "checkpoints" / "step0000007.ckpt")
    return folder


def test_export_encoder_is_equal_in_timm_and_braindino_to_the_bit(
    tmp_path: Path, run: Path, encoder: ViTEncoder, slices: torch.Tensor
) -> None:
    out = tmp_path / "encoder"
    export_encoder(run, out)
    ours = load_encoder(str(out))
    theirs = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    with torch.no_grad():
        expected = encoder(slices)
        assert torch.equal(ours(slices), expected)
        assert torch.equal(theirs(slices), expected)
    assert ours.preprocessing == encoder.preprocessing
    assert ours.seen is not None
    people = {"ADNI:002_S_0001", "IXI:17"}
    assert ours.seen.people_among([*people, "IXI:1", "ixi:17"]) == people
    assert not people & ours.seen.people  # by their digests
    export_encoder(run, out, identify=True)
    assert load_encoder(str(out)).pretraining_people == people
    assert ours.digest == encoder.digest


def test_export_encoder_saves_the_eps_of_the_norms(
    tmp_path: Path, run: Path, checkpoint: dict[str, Any], slices: torch.Tensor
) -> None:
    """BrainDINO's own model has 1e-6, timm's DINOv3 1e-5; what does not name it keeps timm's."""
    export_encoder(run, tmp_path / "plain")
    plain = load_encoder(str(tmp_path / "plain"))
    assert {m.eps for m in plain.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-5}
    checkpoint["encoder"]["model_args"]["norm_eps"] = 1e-3
    torch.save(checkpoint, run / "checkpoints" / "step0000007.ckpt")
    export_encoder(run, tmp_path / "encoder")
    ours, source = load_encoder(str(tmp_path / "encoder")), load_encoder(str(run))
    assert {m.eps for m in ours.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-3}
    theirs = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(ours(slices), source(slices))
        assert not torch.equal(ours(slices), plain(slices))
        assert not torch.equal(theirs(slices), ours(slices))
        code = (tmp_path / "encoder" / "README.md").read_text().split("```python")[1].split("```")[0]
        exec(code[code.index("for norm") :], {"model": theirs, "torch": torch})
        assert torch.equal(theirs(slices), ours(slices))
    assert ours.digest == source.digest != plain.digest


def test_export_encoder_writes_card_config_and_licence(tmp_path: Path, run: Path) -> None:
    out = tmp_path / "encoder"
    export_encoder(run, out)
    assert {p.name for p in out.iterdir()} == {
        "LICENSE",
        "README.md",
        "config.json",
        "model.safetensors",
        "pretraining_people.txt",
    }
    card = (out / "README.md").read_text()
    assert card.startswith("---\n")
    assert NAME in card
    assert "`depth`: 8" in card
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["license_link"]) == ("other", "LICENSE")
    assert front["library_name"] == "timm"
    assert "has not been stated" in (out / "LICENSE").read_text()
    export_encoder(run, out, licence="cc-by-nc-4.0")
    assert yaml.safe_load((out / "README.md").read_text().split("---")[1])["license"] == "cc-by-nc-4.0"
    assert json.loads((out / "config.json").read_text())["braindino"]["pretraining_steps"] == 7


def test_export_encoder_replaces_an_export_and_no_other_folder(tmp_path: Path, run: Path) -> None:
    out = tmp_path / "encoder"
    export_encoder(run, out)
    export_encoder(run, out)
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"x")
    with pytest.raises(BraindinoError, match="not an earlier export"):
        export_encoder(run, other)
    assert [p.name for p in other.iterdir()] == ["cat.jpg"]


def test_export_encoder_rejects_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no such run"):
        export_encoder(tmp_path / "nope", tmp_path / "out")
