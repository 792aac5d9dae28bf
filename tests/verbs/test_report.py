from pathlib import Path

import pytest

import braindino
from braindino.errors import BraindinoError
from tests.helpers.predictions import cells, classification, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "adni_cls" / "enc" / "1", cells(classification))


def test_report_returns_the_files_it_wrote(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = braindino.report([run], tmp_path / "r.html", tables=tmp_path / "tables", resamples=20)
    assert report.page == tmp_path / "r.html"
    assert report.page.is_file()
    assert set(report.tables) == set((tmp_path / "tables").iterdir())
    assert {path.suffix for path in report.tables} == {".csv", ".tex"}
    assert capfd.readouterr() == ("", "")


def test_report_without_a_folder_for_tables_writes_the_page_only(run: Path, tmp_path: Path) -> None:
    report = braindino.report(str(run), str(tmp_path / "r.html"), resamples=20)
    assert report.tables == ()
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_report_rejects_a_folder_as_page(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="is a folder, expected the name of an HTML file"):
        braindino.report(run, tmp_path)
