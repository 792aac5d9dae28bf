from pathlib import Path

import pytest

from braindino.errors import BraindinoError
from braindino.verbs.opening import as_paths, check_store


def test_check_store_refuses_a_name_that_may_be_misspelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    check_store(Path("st"), prepare=False)
    assert capsys.readouterr().out == "st: no store there, and none near by; made by the encoder's contract\n"
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "contract.json").write_text("{}")
    with pytest.raises(BraindinoError, match=r"st: no store there(.|\n)*store(.|\n)*--prepare"):
        check_store(Path("st"), prepare=False)
    check_store(Path("st"), prepare=True)
    check_store(Path("store"), prepare=False)
    assert capsys.readouterr().out == ""


def test_as_paths_takes_one_or_several() -> None:
    assert as_paths("a") == as_paths(Path("a")) == as_paths(["a"]) == [Path("a")]
    assert as_paths(("a", Path("b"))) == [Path("a"), Path("b")]
