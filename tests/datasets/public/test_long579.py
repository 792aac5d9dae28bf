from pathlib import Path

import pytest

from braindino.datasets.public.long579 import LONG579
from braindino.errors import LayoutError, TableError
from braindino.synthetic.files import Planted
from braindino.synthetic.long579 import write_long579


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    root = tmp_path_factory.mktemp("long579")
    return root, write_long579(root, 14, sessions=3, shape=(8, 8, 8))


def test_long579_index_computes_ages_from_shifted_dates(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    manifest = LONG579(root).manifest
    columns = ["subject", "session", "age", "sex"]
    assert sorted(manifest.table[columns].itertuples(index=False, name=None)) == sorted(
        tuple(scan[column] for column in columns) for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert len(truth.dropped) == 7
    assert b"\r\n" in (root / "participants.tsv").read_bytes()
    assert (manifest.table["session"].astype(float) <= manifest.table["age"]).all()


def test_long579_index_groups_sessions_of_a_child(planted: tuple[Path, Planted]) -> None:
    table = LONG579(planted[0]).manifest.table
    assert table["group"].nunique() == table["subject"].nunique() < len(table)
    assert set(table["group"]) == {f"long579:{subject}" for subject in table["subject"]}


def test_long579_index_names_a_missing_column(tmp_path: Path) -> None:
    write_long579(tmp_path, 1, shape=(8, 8, 8))
    table = tmp_path / "participants.tsv"
    table.write_bytes(table.read_bytes().replace(b"birthdate", b"birth_year"))
    with pytest.raises(TableError, match=r"no column 'birthdate'; found 'participant_id', 'birth_year'"):
        _ = LONG579(tmp_path).manifest
    (tmp_path / "other").mkdir()
    with pytest.raises(LayoutError, match=r"no scan of the dataset 'long579'.*\n.*sub-5XXX"):
        _ = LONG579(tmp_path / "other").manifest
