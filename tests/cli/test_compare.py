"""Test `braindino compare`: its table, its files, and one-line errors."""

import json
from pathlib import Path

import pandas as pd
import pytest

from braindino.analysis.predictions import format_predictions
from braindino.cli.main import main
from tests.helpers.predictions import cells, classification, regression, segmentation


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two encoders on two tasks, the second one worse; visits of some people."""
    for encoder, signal in (("good", 2.0), ("bad", 0.5)):
        tables = {
            "adni_cls": cells(classification, signal=signal, visits=2),
            "brain_age": cells(regression, noise=4 / signal, seeds=(0,)),
        }
        for task, table in tables.items():
            run = tmp_path / "runs" / task / encoder / "1"
            run.mkdir(parents=True)
            (run / "predictions.csv").write_text(format_predictions(table))
    return tmp_path / "runs"


def test_compare_prints_a_table_and_writes_two_files(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(runs / task / encoder) for task in ("adni_cls", "brain_age") for encoder in ("good", "bad")
    ]
    assert main(["compare", *arguments, "--out", str(tmp_path / "out"), "--resamples", "100"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("good less bad:")
    assert "DeLong" in shown
    assert "McNemar's test treats cases as independent" in shown
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert set(table["task"]) == {"adni_cls", "brain_age"}
    main_tests = table[table["family"] == "main test"]
    assert main_tests[["metric", "test"]].to_numpy().tolist() == [["auroc", "DeLong"], ["mae", "Wilcoxon"]]
    assert (main_tests["p_holm"] >= main_tests["p"]).all()
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert content["models"]["good"]["adni_cls"] == str(runs / "adni_cls" / "good" / "1")
    assert len(content["rows"]) == len(table)
    assert content["rows"][0]["difference"] == table["difference"][0]


def test_compare_jobs_do_not_change_the_numbers(runs: Path, tmp_path: Path) -> None:
    given = ["compare", str(runs / "adni_cls"), str(runs / "brain_age"), "--resamples", "50", "--out"]
    assert main([*given, str(tmp_path / "one")]) == 0
    assert main([*given, str(tmp_path / "two"), "--jobs", "2"]) == 0
    one, two = (tmp_path / name / "compare.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_compare_uses_the_first_run_as_reference(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = runs / "brain_age"
    assert main(["compare", str(task / "bad"), str(task / "good"), "--resamples", "50"]) == 0
    assert capsys.readouterr().out.startswith("bad less good:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adni_cls/good"], "one model only (good); give the runs of at least two"),
        (["adni_cls/good", "nowhere"], "nowhere: no such folder"),
        (["adni_cls/good", "brain_age/bad"], "good and bad have no task in common"),
        (["adni_cls", "--resamples", "0"], "--resamples 0: expected 1 or more"),
        (["adni_cls", "--pairs", "some"], "pairs"),
        ([], "runs"),
    ],
)
def test_compare_rejects_wrong_arguments(
    runs: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(runs)
    assert main(["compare", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) <= 3


def test_compare_excludes_and_names_runs_without_a_common_fraction(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two such runs alone are an error; beside a third one they are excluded and named."""
    for name, fraction in (("whole", 1.0), ("quarter", 0.25), ("other", 1.0)):
        run = runs / "seg" / name
        run.mkdir(parents=True)
        table = cells(segmentation, fractions=(fraction,), counted=True)
        (run / "predictions.csv").write_text(format_predictions(table))
        (run / "config.yaml").write_text("run: {name: seg}\n")
    note = "seg: whole and quarter are not compared, no label fraction in common: 1 in the first, 0.25 in the"
    whole, quarter, other = (str(runs / "seg" / name) for name in ("whole", "quarter", "other"))
    assert main(["compare", whole, quarter, "--resamples", "20"]) == 2
    assert note in capsys.readouterr().err
    assert main(["compare", whole, quarter, other, "--resamples", "20"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("whole less other:")
    assert f"{note} second." in shown
    assert "lesion_count_error" in shown


def test_compare_names_a_damaged_file(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "adni_cls" / "bad" / "1" / "predictions.csv").write_text("case,group\n1,2\n")
    assert main(["compare", str(runs)]) == 2
    assert "predictions.csv: columns missing: split" in capsys.readouterr().err
