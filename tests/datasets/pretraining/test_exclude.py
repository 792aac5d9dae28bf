from pathlib import Path

import pandas as pd
import pytest

from braindino.datasets.pretraining.exclude import find_excluded
from braindino.errors import BraindinoError


@pytest.fixture
def scans(tmp_path: Path) -> pd.DataFrame:
    return pd.DataFrame(
        {"group": ["a:1", "a:2", "b:1"], "path": [str(tmp_path / "x y" / f"{i}.nii") for i in range(3)]}
    )


def test_find_excluded_reads_people_and_paths_of_a_text(tmp_path: Path, scans: pd.DataFrame) -> None:
    file = tmp_path / "out.txt"
    file.write_text("\ufeff# test people\na:2   # twice scanned\n\nx y/2.nii\nc:9\n")
    assert find_excluded(file, scans).rows.tolist() == [False, True, True]


def test_find_excluded_reads_columns_of_a_csv(tmp_path: Path, scans: pd.DataFrame) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case,group,split\n1,b:1,test\n")
    assert find_excluded(file, scans).rows.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "# no people\n", "contains no entries"),
        ("a.csv", "who\na:1\n", "needs a column"),
        ("a.txt", None, "be read"),
    ],
)
def test_find_excluded_refuses_an_empty_list(
    tmp_path: Path, scans: pd.DataFrame, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BraindinoError, match=message) as caught:
        find_excluded(tmp_path / name, scans)
    assert name in str(caught.value)


def test_find_excluded_uses_val_and_test_of_a_split(tmp_path: Path, scans: pd.DataFrame) -> None:
    file = tmp_path / "cases.csv"
    people = scans["group"].unique()
    parts = ["train", "test", "val"][: len(people)]
    pd.DataFrame({"case": parts, "group": people[: len(parts)], "split": parts}).to_csv(file, index=False)
    out = find_excluded(file, scans).rows
    assert not out[scans["group"] == people[0]].any()
    assert out[scans["group"].isin(people[1 : len(parts)])].all()
