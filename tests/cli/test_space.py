"""Test `braindino space`: a picture with its coordinates, and encoders compared on the rows they share."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.cli.main import main
from braindino.encoders.embedding_files import embedding_writer, read_embedding
from braindino.errors import BraindinoError
from braindino.verbs.space import coordinate_columns


@pytest.fixture
def emb(tmp_path: Path) -> Path:
    return written(tmp_path / "one.parquet", np.random.default_rng(0).standard_normal((40, 6)))


def written(path: Path, features: np.ndarray, level: str = "scan") -> Path:
    ids = pd.DataFrame({"dataset": "made", "path": [f"s{i}.nii" for i in range(len(features))]})
    ids["diagnosis"] = ["AD", "CN"] * (len(ids) // 2)
    if level == "slice":
        ids["path"], ids["slice"] = "s0.nii", range(len(ids))
    with embedding_writer(path, len(ids), features.shape[1]) as write:
        write(ids, features)
    return path


def test_space_writes_a_picture_and_its_coordinates(emb: Path, tmp_path: Path) -> None:
    out = tmp_path / "fig.png"
    arguments = ["--color-by", "diagnosis", "--method", "pca", "--sample", "30", "--out", str(out)]
    assert main(["space", str(emb), *arguments]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"
    table = pd.read_csv(tmp_path / "fig.csv")
    assert len(table) == 30
    assert {"path", "diagnosis", "x", "y"} <= set(table)


def test_space_keeps_columns_of_the_manifest_called_x_and_y(tmp_path: Path) -> None:
    ids = pd.DataFrame({"path": [f"s{i}.nii" for i in range(12)], "x": 7, "Y": "kept", "y": "left"})
    with embedding_writer(tmp_path / "one.parquet", 12, 6) as write:
        write(ids, np.random.default_rng(0).standard_normal((12, 6)))
    out = tmp_path / "fig.png"
    assert main(["space", str(tmp_path / "one.parquet"), "--method", "pca", "--out", str(out)]) == 0
    table = pd.read_csv(tmp_path / "fig.csv")
    assert set(table["x"]) == {7}
    assert set(table["y"]) == {"left"}
    assert table[["map_x", "map_y"]].notna().all(axis=None)
    assert coordinate_columns(pd.Index(["path"])) == ("x", "y")
    with pytest.raises(BraindinoError, match="rename one pair"):
        coordinate_columns(pd.Index(["y", "map_x"]))


def test_space_cka_uses_the_rows_in_common(
    emb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = np.random.default_rng(0).standard_normal((40, 6))
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    turned = written(tmp_path / "turned.npy", (features @ turn * 3 + 1)[:30])
    other = written(tmp_path / "other.csv", np.random.default_rng(5).standard_normal((40, 6)))
    out = tmp_path / "cka.svg"
    assert main(["space", str(emb), str(turned), str(other), "--cka", "--out", str(out)]) == 0
    assert "30 rows in common" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "cka.csv", index_col=0)
    assert table.loc["one", "turned"] == pytest.approx(1, abs=1e-4)
    assert table["other"]["one"] == table["one"]["other"] < 0.6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--color-by", "age"], "no column 'age'; there are dataset, path, diagnosis"),
        (["--cka"], "name two or more"),
        (["--out", "fig.jpg"], ".png, .svg or .pdf"),
        (["--sample", "1"], "expected 2 or more"),
        (["--sample", "4"], "at least five"),
        (["slices.parquet"], "one file is drawn at a time"),
        (["nowhere.parquet", "--cka"], "nowhere.parquet: no such file"),
        (["slices.parquet", "--cka"], "the same --level"),
    ],
)
def test_space_rejects_wrong_input(
    emb: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "slices.parquet", np.ones((8, 6)), "slice")
    paths = [str(tmp_path / word) if word.endswith(".parquet") else word for word in more]
    assert main(["space", str(emb), "--out", str(tmp_path / "f.png"), *paths]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_embedding_writer_keeps_columns_called_as_features_are(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    features = np.arange(4, dtype=np.float32).reshape(2, 2)
    with embedding_writer(path, 2, 2) as write:
        write(
            pd.DataFrame({"subject": ["a", "b"], "feature_0": [7, 8], "feature_note": ["x", "y"]}), features
        )
    ids, read = read_embedding(path)
    assert (read == features).all()
    assert ids["own_feature_0"].tolist() == [7, 8]
    assert ids["feature_note"].tolist() == ["x", "y"]
