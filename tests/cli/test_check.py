"""`braindino check`: the report, the CSV of findings, exit codes, and every kind of pretraining list."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from braindino.cli.main import main


@pytest.fixture
def broken(cohort: Path, tmp_path: Path) -> Path:
    """The cohort's manifest with seven files that do not exist."""
    table = pd.read_csv(cohort / "adni.csv", dtype=str, keep_default_na=False)
    table["path"] = [str(cohort / path) for path in table["path"]]
    table.loc[:6, "path"] = [f"gone{i}.nii" for i in range(7)]
    table.to_csv(tmp_path / "m.csv", index=False)
    return tmp_path / "m.csv"


def test_check_prints_counts_then_the_first_findings(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(broken)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("; 7 findings")
    assert lines[1] == "         7  missing files"
    assert lines[3] == "missing files: fetch the file, correct the path, or remove the row"
    assert lines[4] == f"  line 2, path: {broken.parent / 'gone0.nii'} - no such file"
    assert lines[9] == "  ... and 2 more (--all shows them)"
    assert lines[-1].startswith("not checked: splits (give --split FILE); overlap")
    assert main(["check", str(broken), "--all"]) == 0
    assert "more (" not in capsys.readouterr().out


def test_check_strict_returns_1_with_findings(broken: Path, cohort: Path) -> None:
    assert main(["check", str(broken), "--strict"]) == 1
    assert main(["check", str(cohort / "adni.csv"), "--strict", "--store", str(cohort / "store")]) == 0


def test_check_writes_findings_to_a_table(broken: Path, tmp_path: Path) -> None:
    assert main(["check", str(broken), "--out", str(tmp_path / "f.csv")]) == 0
    with (tmp_path / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [str(2 + i) for i in range(7)]
    assert {row["check"] for row in rows} == {"missing files"}
    assert rows[0]["remedy"].startswith("fetch the file")


def test_check_label_options(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = str(cohort / "adni.csv")
    assert main(["check", manifest, "--label", "diagnosis", "--classes", "[CN,AD]", "--strict"]) == 1
    assert "labels out of range" in capsys.readouterr().out
    assert main(["check", manifest, "--classes", "[CN,AD]"]) == 2
    assert "name it with --label" in capsys.readouterr().err
    assert main(["check", manifest, "--label", "age", "--between", "[0,50]", "--strict"]) == 1
    assert main(["check", manifest, "--label", "age", "--between", "[0,100]", "--strict"]) == 0


def test_check_pretraining_accepts_lists_and_encoders(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(cohort / "adni.csv", dtype=str)
    people = sorted(set(table["group"]))[:2]
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "pretraining_people.txt").write_text("\n".join(people) + "\n")
    table[table["group"].isin(people)].to_csv(tmp_path / "list.csv", index=False)
    for source in (encoder, encoder / "pretraining_people.txt", tmp_path / "list.csv"):
        assert main(["check", str(cohort / "adni.csv"), "--pretraining", str(source), "--strict"]) == 1
        out = capsys.readouterr().out
        assert "         2  seen in pretraining" in out
        assert people[0] in out
    assert main(["check", str(cohort / "adni.csv"), "--pretraining", str(tmp_path / "no")]) == 2
    assert "no such list or encoder" in capsys.readouterr().err
