"""Columns of a user's table do not replace those of the table of cases."""

from pathlib import Path

import pandas as pd
import pytest

from braindino.datasets.cases import case_table
from braindino.datasets.manifest import COLUMNS, Manifest, further_column, label_column


class _Store:
    """Every path is its own key."""

    @staticmethod
    def rejects() -> pd.DataFrame:
        return pd.DataFrame({"path": [], "reason": []})

    @staticmethod
    def key_of(path: str) -> str:
        return f"key of {path}"


def _manifest(**columns: str) -> Manifest:
    known = dict.fromkeys(COLUMNS, "") | {"dataset": "d", "modality": "T1w", "age": 50.0}
    rows = [known | {"subject": f"s{i}", "path": f"{i}.nii", "group": f"d:s{i}", **columns} for i in range(2)]
    return Manifest(pd.DataFrame(rows))


@pytest.mark.parametrize("name", ["case", "mask", "key_T1w"])
def test_case_table_is_not_overwritten_by_columns_of_a_table(name: str) -> None:
    cases, _ = case_table(_manifest(**{name: "F1"}), _Store(), ["T1w"])  # type: ignore[arg-type]
    assert cases["case"].tolist() == ["d:s0", "d:s1"]
    assert cases["mask"].tolist() == ["", ""]
    assert cases["key_T1w"].tolist() == ["key of 0.nii", "key of 1.nii"]


@pytest.mark.parametrize("name", ["case", "mask"])
def test_manifest_reads_reserved_columns_under_another_name(tmp_path: Path, name: str) -> None:
    _manifest(**{name: "F1"}).write(tmp_path / "m.csv")
    table = Manifest.read(tmp_path / "m.csv").table
    assert name not in table
    assert table[further_column(name)].tolist() == ["F1", "F1"]
    assert label_column(table, name) == further_column(name)
