from pathlib import Path

import pandas as pd
import pytest

from braindino.datasets.pretraining.exclude import excluded
from braindino.errors import BraindinoError


@pytest.fixture
def scans(tmp_path: Path) -> pd.DataFrame:
    return pd.DataFrame(
        {"group": ["a:1", "a:2", "b:1"], "path": [str(tmp_path / "x y" / f"{i}.nii") for i in range(3)]}
    )


def test_people_and_paths_in_a_text(tmp_path: Path, scans: pd.DataFrame) -> None:
    file = tmp_path / "out.txt"
    file.write_text("\ufeff# test people\na:2   # twice scanned\n\nx y/2.nii\nc:9\n")
    assert excluded(file, scans).rows.tolist() == [False, True, True]


def test_columns_of_a_csv(tmp_path: Path, scans: pd.DataFrame) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case,group,split\n1,b:1,test\n")
    assert excluded(file, scans).rows.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "# nobody\n", "names nobody"),
        ("a.csv", "who\na:1\n", "needs a column"),
        ("a.txt", None, "be read"),
    ],
)
def test_a_list_that_says_nothing_is_refused(
    tmp_path: Path, scans: pd.DataFrame, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BraindinoError, match=said) as caught:
        excluded(tmp_path / name, scans)
    assert name in str(caught.value)


def test_of_a_split_only_the_held_out_people_are_meant(tmp_path: Path, scans: pd.DataFrame) -> None:
    file = tmp_path / "cases.csv"
    people = scans["group"].unique()
    parts = ["train", "test", "val"][: len(people)]
    pd.DataFrame({"case": parts, "group": people[: len(parts)], "split": parts}).to_csv(file, index=False)
    out = excluded(file, scans).rows
    assert not out[scans["group"] == people[0]].any()
    assert out[scans["group"].isin(people[1 : len(parts)])].all()
