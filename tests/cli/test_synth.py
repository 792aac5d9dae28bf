from pathlib import Path

import pytest

from braindino.cli.synth import synth
from braindino.errors import BraindinoError


def test_synth_writes_the_same_bytes_for_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert synth(tmp_path / name, "adni", people=3, shape=(8, 8, 8), seed=seed) == 0
    assert "3 people" in capsys.readouterr().out

    def content(name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    assert content("a") == content("b")
    assert content("a") != content("c")


def test_synth_rejects_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="Did you mean 'adni'"):
        synth(tmp_path / "x", "adnii")
    with pytest.raises(BraindinoError, match="people: 0"):
        synth(tmp_path / "x", people=0)
    (tmp_path / "file").touch()
    with pytest.raises(BraindinoError, match="not an empty folder"):
        synth(tmp_path)
