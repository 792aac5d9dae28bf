"""Test `braindino report`: its files, and one-line errors."""

from pathlib import Path

import pytest

from braindino.cli.main import main
from tests.helpers.predictions import cells, classification, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "adni_cls" / "enc" / "1", cells(classification))


def test_report_writes_a_page_and_tables(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tables = tmp_path / "deep" / "report.html", tmp_path / "tables"
    assert main(["report", str(run), "--out", str(out), "--tables", str(tables), "--title", "Ours"]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert "<title>Ours</title>" in out.read_text()
    assert {"overview.csv", "overview.tex"} <= {path.name for path in tables.iterdir()}


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ("results.json", [], "no results.json; the run is not finished"),
        ("predictions.csv", [], "no finished probe in it"),
        ("", ["--out", "."], "is a folder, expected the name of an HTML file"),
        ("", ["--resamples", "0"], "--resamples 0: expected 1 or more"),
        ("", ["--jobs", "0"], "--jobs 0: expected 1 or more"),
    ],
)
def test_report_rejects_wrong_arguments(
    run: Path,
    tmp_path: Path,
    change: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = tmp_path / "adni_cls" / "enc" / "1"
    copy.mkdir(parents=True)
    for path in run.iterdir():
        if path.is_file() and path.name != change:
            (copy / path.name).write_bytes(path.read_bytes())
    assert main(["report", str(copy), *(arguments or ["--out", str(tmp_path / "r.html")])]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) <= 3
