from pathlib import Path

import pytest

from braindino.cli.index import index
from braindino.datasets.manifest import Manifest
from braindino.datasets.synthetic.adni import write_adni
from braindino.errors import BraindinoError


def test_counts_are_printed_and_the_manifest_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = write_adni(tmp_path / "d", people=9, shape=(8, 8, 8))
    assert index(tmp_path / "d", "adni", tmp_path / "adni.csv") == 0
    said = capsys.readouterr().out
    assert f"adni: {len(planted.scans)} scans" in said
    for reason, count in planted.dropped.items():
        assert f"{count:>8}  {reason}" in said
    labels = [scan["diagnosis"] for scan in planted.scans]
    assert ", ".join(f"{name} {labels.count(name)}" for name in ("CN", "MCI", "AD")) in said
    assert len(Manifest.read(tmp_path / "adni.csv").table) == len(planted.scans)
    assert len(Manifest.read(tmp_path / "adni.csv").dropped) == sum(planted.dropped.values())


def test_an_unknown_dataset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="Did you mean 'adni'"):
        index(tmp_path, "adnl")


@pytest.mark.parametrize("dataset", ["adni", "folder", "bids"])
def test_a_wrong_folder_is_one_clear_error(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "ADNIMERGE.csv").write_text("PTID,EXAMDATE,DX\n")
    with pytest.raises(BraindinoError) as caught:
        index(tmp_path, dataset)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "Looked for" in message
    assert "ADNIMERGE.csv, notes/" in message
    assert message.count("\n") <= 2
    with pytest.raises(BraindinoError, match="no such folder"):
        index(tmp_path / "nowhere", dataset)
