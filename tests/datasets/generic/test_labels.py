import pandas as pd
import pytest

from braindino.datasets.generic.labels import as_text, class_labels, class_names, numbers
from braindino.errors import TableError


def column(*cells: str) -> pd.Series:
    return pd.Series(cells, [f"t.csv, line {i}" for i in range(2, len(cells) + 2)], name="grade")


def test_as_text_keeps_a_word_that_is_a_class() -> None:
    assert [as_text(cell) for cell in ("1.0", 1, " AD ", "NA")] == ["1", "1", "AD", ""]
    assert as_text("NA", ["NA", "b"]) == "NA"


@pytest.mark.parametrize(
    ("cells", "given", "names"),
    [
        (["no", "yes"], [False, True], ("no", "yes")),
        (["Off", "on"], [True, False], ("on", "Off")),
        (["False", "True"], [False, True], ("False", "True")),
        (["null", "low"], [None, "low"], ("null", "low")),
        (["no", "maybe"], [False, "maybe"], ("no", "maybe")),
        (["1", "2"], [1.0, 2], ("1", "2")),
        (["none", "low"], ["none", "low"], ("none", "low")),
    ],
)
def test_class_names_reads_what_yaml_makes_of_words(
    cells: list[str], given: list[str | int | float | bool | None], names: tuple[str, ...]
) -> None:
    assert class_names(column(*cells), given, "t.csv") == names


@pytest.mark.parametrize(
    ("cells", "given", "message"),
    [
        (["no", "off"], [False, "x"], r"t\.csv: classes: YAML reads no.*'no', 'off'.*\n.*quotes"),
        (["a", "b"], [True, "a"], r"none of these.*\n.*quotes"),
        (["a", "b"], ["a", "a"], "'a' is listed twice"),
    ],
)
def test_class_names_asks_for_quotes(cells: list[str], given: list[str | bool], message: str) -> None:
    with pytest.raises(TableError, match=message):
        class_names(column(*cells), given, "t.csv")


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (["Good", "bad", "good"], r"line 4.*'Good' \(1\), 'good' \(1\) look like one class"),
        (["Good", "Good\u200b", "bad"], r"line 3.*'Good' \(1\), 'Good<U\+200B>' \(1\)"),
        (["a b", "a\u00a0b", "c"], r"line 3.*'a b' \(1\), 'a<U\+00A0>b'"),
        (["a b", "a  b", "c"], "look like one class"),
    ],
)
def test_class_labels_rejects_spellings_that_look_alike(cells: list[str], named: str) -> None:
    with pytest.raises(TableError, match=named):
        class_labels(column(*cells), None)
    labels, names = class_labels(column(*cells), cells)
    assert labels.tolist() == list(names) == cells


def test_class_labels_names_the_class_that_is_meant() -> None:
    with pytest.raises(TableError, match=r"line 3.*'good' is none of the classes Good, bad; is it 'Good'"):
        class_labels(column("Good", "good"), ["Good", "bad"])


def test_class_labels_asks_for_quotes_around_numbers_with_a_leading_zero() -> None:
    with pytest.raises(TableError, match=r"'01' is none of the classes 1, 2 \(YAML reads 01 as a number"):
        class_labels(column("01", "02"), ["1", "2"])


def test_numbers_with_decimal_commas() -> None:
    assert numbers(column("3,5", "2,125", "4")).tolist() == [3.5, 2.125, 4]
    with pytest.raises(TableError, match="with a decimal point"):
        numbers(column("3,500", "12"))
