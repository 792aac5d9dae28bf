from pathlib import Path

import pytest

import braindino
from braindino.errors import BraindinoError
from braindino.synthetic.adni import write_adni


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest of ADNI with two files that do not exist."""
    write_adni(tmp_path / "adni", people=6, shape=(8, 8, 8))
    indexed = braindino.index(tmp_path / "adni", dataset="adni", out=tmp_path / "m.csv", progress=False)
    for path in indexed.table["path"][:2]:
        Path(path).unlink()
    return tmp_path / "m.csv"


def test_check_returns_findings_and_prints_nothing(manifest: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = braindino.check(str(manifest), progress=False)
    assert [(finding.check, finding.row) for finding in report.findings] == [
        ("missing files", 2),
        ("missing files", 3),
    ]
    assert report.table()["remedy"].str.startswith("fetch the file").all()
    assert len(report.not_checked) == 2
    assert capfd.readouterr() == ("", "")


def test_check_writes_the_findings_to_out(manifest: Path, tmp_path: Path) -> None:
    report = braindino.check(manifest, tmp_path / "findings.csv", progress=False)
    written = (tmp_path / "findings.csv").read_text().splitlines()
    assert len(written) == 1 + len(report.findings) == 3
    with pytest.raises(BraindinoError, match="is a folder"):
        braindino.check(manifest, tmp_path, progress=False)


def test_check_accepts_label_rules(manifest: Path) -> None:
    report = braindino.check(manifest, label="diagnosis", classes=["CN", "AD"], progress=False)
    assert "labels out of range" in {finding.check for finding in report.findings}
    with pytest.raises(BraindinoError, match="about a label"):
        braindino.check(manifest, classes=["CN"])


def test_check_rejects_an_absent_pretraining_list(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no such list or encoder"):
        braindino.check(manifest, pretraining=tmp_path / "none", progress=False)
