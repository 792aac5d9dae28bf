"""Check the arguments that all writers of synthetic datasets share."""

import hashlib
import inspect
from pathlib import Path

import pytest

from braindino.synthetic import GENERATORS, generator
from braindino.synthetic.dataset import SHAPE, SyntheticDataset, writer


@writer(stream=1, sessions=3)
def write_example(dataset: SyntheticDataset) -> None:
    """Write a file of the arguments and a random number."""
    dataset.root.mkdir(parents=True, exist_ok=True)
    values = (dataset.people, dataset.sessions, dataset.shape, dataset.rng.integers(10**6))
    (dataset.root / "values.txt").write_text(" ".join(map(str, values)))
    dataset.planted.scans.append({"subject": "a"})
    dataset.planted.drop("example")


def test_writer_passes_arguments_and_returns_planted(tmp_path: Path) -> None:
    planted = write_example(tmp_path / "a")
    assert planted.scans == [{"subject": "a"}]
    assert planted.dropped == {"example": 1}
    values = (tmp_path / "a" / "values.txt").read_text()
    assert values.startswith(f"60 3 {SHAPE} ")
    write_example(tmp_path / "b", people=60, sessions=3, shape=SHAPE, seed=0)
    assert (tmp_path / "b" / "values.txt").read_text() == values
    write_example(tmp_path / "c", seed=1)
    assert (tmp_path / "c" / "values.txt").read_text() != values


@pytest.mark.parametrize("name", GENERATORS)
def test_generator_has_arguments_of_writer(name: str) -> None:
    write = generator(name)
    assert list(inspect.signature(write).parameters) == ["root", "people", "sessions", "shape", "seed"]
    assert inspect.getdoc(write)


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".gz")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.mark.parametrize("name", ["adni", "upenn_gbm", "oasis"])
def test_generator_writes_equal_tables_for_equal_seeds(name: str, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        generator(name)(tmp_path / folder, people=3, shape=(8, 8, 8), seed=seed)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b") != _digest(tmp_path / "c")
