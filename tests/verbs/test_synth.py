from pathlib import Path

import pytest

import braindino
from braindino.errors import BraindinoError


def test_synth_returns_what_index_should_list(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    planted = braindino.synth(tmp_path / "d", "oasis", people=5, shape=(8, 8, 8))
    manifest = braindino.index(tmp_path / "d", "oasis")
    assert len(manifest.table) == len(planted.scans)
    assert manifest.dropped["reason"].value_counts().to_dict() == planted.dropped
    assert capfd.readouterr() == ("", "")


def test_synth_rejects_an_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="Did you mean 'oasis'"):
        braindino.synth(tmp_path / "d", "oasi")
    assert not (tmp_path / "d").exists()
