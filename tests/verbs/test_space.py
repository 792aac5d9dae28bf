from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import braindino
from braindino.encoders.embedding_files import embedding_writer
from braindino.errors import BraindinoError


def write_embedding(path: Path, rows: int, seed: int) -> Path:
    ids = pd.DataFrame({"path": [f"s{i}.nii" for i in range(rows)], "age": np.linspace(50, 80, rows)})
    with embedding_writer(path, rows, 6) as write:
        write(ids, np.random.default_rng(seed).standard_normal((rows, 6)))
    return path


def test_space_returns_coordinates_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_embedding(tmp_path / "one.parquet", 40, 0)
    space = braindino.space(file, method="pca", color_by="age", sample=30)
    assert space.coordinates == ("x", "y")
    assert space.table[["x", "y"]].notna().all(axis=None)
    assert (len(space.table), space.rows, space.features) == (30, 30, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["one.parquet"]
    assert capfd.readouterr() == ("", "")


def test_space_returns_a_matrix_of_cka(tmp_path: Path) -> None:
    files = [write_embedding(tmp_path / f"{name}.parquet", 40, seed) for seed, name in enumerate("ab")]
    space = braindino.space(files, out=tmp_path / "cka.png", cka=True, progress=False)
    assert list(space.table.index) == list(space.table.columns) == ["a", "b"]
    assert space.table.loc["a", "a"] == pytest.approx(1)
    assert (tmp_path / "cka.png").is_file()
    assert pd.read_csv(tmp_path / "cka.csv", index_col=0).shape == (2, 2)


def test_space_rejects_two_files_without_cka(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="one file is drawn at a time"):
        braindino.space([tmp_path / "a.parquet", tmp_path / "b.parquet"])
