from pathlib import Path

import pytest

from braindino.datasets.public.pixar import Pixar
from braindino.errors import TableError
from braindino.synthetic.pixar import write_pixar


def test_pixar_index_lists_ages_and_dropped_files(tmp_path: Path) -> None:
    truth = write_pixar(tmp_path, 12, shape=(8, 8, 8))
    manifest = Pixar(tmp_path).manifest
    columns = ["subject", "age", "sex"]
    assert sorted(manifest.table[columns].itertuples(index=False, name=None)) == sorted(
        tuple(scan[column] for column in columns) for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert len(truth.dropped) == 3
    assert manifest.table["group"].is_unique


def test_pixar_index_requires_ages(tmp_path: Path) -> None:
    write_pixar(tmp_path, 2, shape=(8, 8, 8))
    table = tmp_path / "participants.tsv"
    table.write_text(table.read_text().replace("Age (years)", "Years"))
    with pytest.raises(
        TableError, match=r"no column 'age' or 'age \(years\)'.*found 'participant_id', 'Years'"
    ):
        _ = Pixar(tmp_path).manifest
    table.unlink()
    with pytest.raises(TableError, match=r"participants\.tsv"):
        _ = Pixar(tmp_path).manifest
