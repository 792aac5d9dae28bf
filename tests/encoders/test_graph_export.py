"""Graphs: the encoder's features at any size, and no file if they differ."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from braindino.encoders import graph_export as graphs
from braindino.encoders.export import export_encoder
from braindino.encoders.graph_export import ONNX, TORCH, TokenGraph, write_graphs
from braindino.encoders.vit import ViTEncoder
from braindino.errors import BraindinoError


def test_write_graphs_torch_export_equals_the_encoder_at_every_size(
    encoder: ViTEncoder, tmp_path: Path
) -> None:
    assert write_graphs(encoder, tmp_path, onnx=False, torch_export=True) == [tmp_path / TORCH]
    module = torch.export.load(tmp_path / TORCH).module()
    for shape in ((1, 1, 32, 32), (5, 1, 48, 24)):
        slices = torch.randn(shape)
        cls, patches = module(slices)
        with torch.no_grad():
            assert torch.equal(cls, encoder(slices))
            grid = encoder.patch_maps(slices, [-1])[0]
        torch.testing.assert_close(patches.transpose(1, 2).unflatten(2, grid.shape[2:]), grid)


def test_write_graphs_onnx_equals_the_encoder_at_every_size(encoder: ViTEncoder, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert write_graphs(encoder, tmp_path, onnx=True, torch_export=False) == [tmp_path / ONNX]
    assert [file.name for file in tmp_path.iterdir()] == [ONNX]
    session = onnxruntime.InferenceSession(str(tmp_path / ONNX), providers=["CPUExecutionProvider"])
    slices = torch.randn(5, 1, 48, 24)
    cls, patches = session.run(None, {"slices": slices.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(cls), encoder(slices), atol=1e-5, rtol=1e-4)
    assert patches.shape == (5, 18, 48)


def test_write_graphs_saves_no_graph_that_differs(
    encoder: ViTEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(file: str, inputs: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        with torch.no_grad():
            return [(cls * 1.001, patches) for cls, patches in map(TokenGraph(encoder), inputs)]

    monkeypatch.setattr(graphs, "_run_torch", off)
    with pytest.raises(BraindinoError, match=r"model.pt2: cls of \(1, 1, 32, 32\) differs .* not saved"):
        write_graphs(encoder, tmp_path, onnx=False, torch_export=True)
    assert list(tmp_path.iterdir()) == []


def test_check_onnx_names_missing_packages_and_the_remedy(
    tmp_path: Path, checkpoint: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name == "onnx" else sys)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(BraindinoError, match=r"needs onnx: `pip install 'braindino\[onnx\]'`"):
        export_encoder(tmp_path / "a.ckpt", tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


def test_export_encoder_without_graphs_removes_earlier_ones(
    tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    torch.save(checkpoint, tmp_path / "a.ckpt")
    export_encoder(tmp_path / "a.ckpt", tmp_path / "out", torch_export=True)
    assert "`model.pt2`" in (tmp_path / "out" / "README.md").read_text()
    export_encoder(tmp_path / "a.ckpt", tmp_path / "out")
    assert not (tmp_path / "out" / TORCH).exists()
    assert "model.pt2" not in (tmp_path / "out" / "README.md").read_text()
