"""Test `braindino knn`: votes, intervals, and the comparison of encoders."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.neighbors import KNeighborsClassifier

from braindino.analysis.predictions import read_predictions
from braindino.cli.main import main
from braindino.encoders.embedding_files import read_embedding
from tests.helpers.tiny_vit import SCRATCH


def knn(cohort: Path, encoder: Path | str, out: Path, *more: str) -> int:
    return main(
        [
            *("knn", str(cohort / "adni.csv"), "--encoder", str(encoder), "--target", "diagnosis"),
            *("--store", str(cohort / "store"), "--resamples", "20", "--device", "cpu", "--out", str(out)),
            *more,
        ]
    )


def test_knn_of_two_encoders(
    cohort: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert knn(cohort, encoder, tmp_path, "--encoder", SCRATCH) == 0
    shown = capsys.readouterr().out
    assert "scans of" in shown
    assert "McNemar p" in shown
    results = pd.read_csv(tmp_path / "results.csv")
    assert sorted(set(results["k"])) == [1, 3, 5, 10, 20]  # not more than are searched
    assert set(results["encoder"]) == {"encoder", SCRATCH.replace(":", "-")}
    one = read_predictions(tmp_path / "encoder_k3" / "predictions.csv")
    other = read_predictions(tmp_path / f"{SCRATCH.replace(':', '-')}_k3" / "predictions.csv")
    assert (one["case"] == other["case"]).all()
    accuracy = results.query("encoder == 'encoder' and k == 3 and metric == 'accuracy'")["value"].item()
    assert accuracy == pytest.approx((one["prediction"] == one["target"]).mean())
    right = [(table["prediction"] == table["target"]).to_numpy() for table in (one, other)]
    gained, lost = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    row = pd.read_csv(tmp_path / "mcnemar.csv").query("k == 3").iloc[0]
    assert (row["only_first"], row["only_second"]) == (gained, lost)
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert row["p"] == pytest.approx(expected)
    assert row["p_holm"] >= row["p"]


def test_knn_votes_equal_scikit_learn(cohort: Path, encoder: Path, tmp_path: Path) -> None:
    assert knn(cohort, encoder, tmp_path / "knn", "--k", "5", "--test", "0.4") == 0
    out = tmp_path / "emb.parquet"
    arguments = [
        "--encoder",
        str(encoder),
        "--store",
        str(cohort / "store"),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    assert main(["embed", str(cohort / "adni.csv"), *arguments]) == 0
    ids, features = read_embedding(out)
    table = read_predictions(tmp_path / "knn" / "encoder_k5" / "predictions.csv").set_index("case")
    names = ids[["dataset", "subject", "session", "modality"]].agg(":".join, axis=1)
    judged = names.isin(table.index).to_numpy()
    assert set(ids["group"][judged]).isdisjoint(ids["group"][~judged])
    model = KNeighborsClassifier(5, metric="cosine").fit(features[~judged], ids["diagnosis"][~judged])
    shares = table.loc[names[judged], [f"prob_{name}" for name in model.classes_]]
    np.testing.assert_allclose(shares, model.predict_proba(features[judged]), atol=1e-9)


def test_knn_uses_the_split_of_the_manifest(cohort: Path, encoder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "adni.csv")
    table["path"] = [str(cohort / path) for path in table["path"]]
    people = sorted(set(table["group"]))
    part = {person: ("test", "val", "train")[min(i // 4, 2)] for i, person in enumerate(people)}
    table.assign(split=table["group"].map(part)).to_csv(tmp_path / "m.csv", index=False)
    store = ["--store", str(cohort / "store"), "--resamples", "0", "--k", "1", "--device", "cpu"]
    arguments = ["--encoder", str(encoder), "--target", "diagnosis", "--out", str(tmp_path / "o"), *store]
    assert main(["knn", str(tmp_path / "m.csv"), *arguments]) == 0
    judged = read_predictions(tmp_path / "o" / "encoder_k1" / "predictions.csv")
    assert set(judged["group"]) == set(people[:4])
    assert not (tmp_path / "o" / "mcnemar.csv").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--target", "colour"], "no column 'colour'"),
        (["--target", "dataset"], "has 1 classes"),
        (["--target", "path"], "different values; kNN takes classes"),
        (["--k", "0"], "--k 0: expected 1 or more"),
        (["--k", "500"], "fewer than every k of [500]"),
        (["--encoder", "nowhere"], "encoder 'nowhere'"),
        (["--store", "a", "--store", "b"], "3 folders for 1 encoders"),
    ],
)
def test_knn_reports_wrong_input_in_three_lines(
    cohort: Path,
    encoder: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert knn(cohort, encoder, tmp_path, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 3
