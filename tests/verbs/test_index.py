from pathlib import Path

import pytest

import braindino
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError
from braindino.synthetic.adni import write_adni
from braindino.synthetic.files import Planted


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """Return the planted content of `tmp_path / "adni"`."""
    return write_adni(tmp_path / "adni", people=6, shape=(8, 8, 8))


def test_index_returns_a_manifest_and_writes_nothing(
    tmp_path: Path, planted: Planted, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    before = sorted(tmp_path.rglob("*"))
    manifest = braindino.index(tmp_path / "adni", dataset="adni")
    assert isinstance(manifest, Manifest)
    assert len(manifest.table) == len(planted.scans)
    assert manifest.dropped["reason"].value_counts().to_dict() == planted.dropped
    assert manifest.target == ("diagnosis",)
    labels = [scan["diagnosis"] for scan in planted.scans]
    assert manifest.label_counts == {name: labels.count(name) for name in ("CN", "MCI", "AD")}
    assert sorted(tmp_path.rglob("*")) == before
    assert capfd.readouterr() == ("", "")


def test_index_writes_the_manifest_it_returns(tmp_path: Path, planted: Planted) -> None:
    manifest = braindino.index(str(tmp_path / "adni"), dataset="adni", out=str(tmp_path / "m.csv"))
    written = Manifest.read(tmp_path / "m.csv")
    assert written.table["path"].tolist() == manifest.table["path"].tolist()
    assert written.dropped["reason"].tolist() == manifest.dropped["reason"].tolist()


def test_index_passes_options_to_the_dataset(tmp_path: Path, planted: Planted) -> None:
    options = {"max_days": 0, "use_group": False}
    manifest = braindino.index(tmp_path / "adni", dataset="adni", options=options, progress=False)
    assert len(manifest.table) < len(planted.scans)


def test_index_rejects_an_unknown_option(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match=r"adni has no option 'max_day'\. Did you mean 'max_days'"):
        braindino.index(tmp_path, dataset="adni", options={"max_day": 1})


def test_index_does_not_overwrite_another_table(tmp_path: Path, planted: Planted) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(BraindinoError, match=r"mine\.csv: exists and is not a manifest"):
        braindino.index(tmp_path / "adni", dataset="adni", out=table)
    assert table.read_text() == "a,b\n1,2\n"
