"""`braindino export`: files of the folder, and rejected checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch

from braindino.cli.main import main


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("run",)


def test_export_writes_graphs_and_licence_on_request(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = encoder.parent / "step0000001.ckpt"
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--torch-export", "--license", "cc-by-nc-4.0"]
    assert main(["export", str(checkpoint), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "model.pt2: the same features" in shown
    assert "before sharing" not in shown
    assert {"LICENSE", "README.md", "config.json", "model.pt2", "model.safetensors"} == {
        file.name for file in out.iterdir()
    }
    assert main(["export", str(checkpoint), "--out", str(out)]) == 0
    assert "state the licence" in capsys.readouterr().out
    assert not (out / "model.pt2").exists()


def test_export_rejects_a_checkpoint_that_needs_unpickling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}, "encoder": Evil()}, tmp_path / "evil.ckpt")
    assert main(["export", str(tmp_path / "evil.ckpt"), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert "could run any code and is refused" in shown.err
    assert "run\n" not in shown.out
    assert not (tmp_path / "out").exists()
