"""`braindino.export` called from Python."""

from pathlib import Path

import pytest

import braindino
from braindino.errors import BraindinoError


def test_export_returns_the_encoder_of_the_folder(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = encoder.parent / "step0000001.ckpt"
    exported = braindino.export(checkpoint, tmp_path / "out", license="cc-by-nc-4.0", progress=False)
    assert capfd.readouterr() == ("", "")
    loaded = braindino.load_encoder(str(tmp_path / "out"))
    assert loaded.digest == exported.digest
    assert loaded.seen == exported.seen
    assert "license: cc-by-nc-4.0" in (tmp_path / "out" / "README.md").read_text()


def test_export_rejects_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no such run folder or checkpoint"):
        braindino.export(str(tmp_path / "nowhere"), tmp_path / "out")
