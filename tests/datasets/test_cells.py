import math

import pytest

from braindino.datasets.cells import (
    age_unit,
    decimal_commas,
    is_age,
    is_gap,
    is_missing,
    is_missing_id,
    is_numeric,
    is_sex,
    lookalikes,
    parse_age,
    parse_sex,
    visible,
)


@pytest.mark.parametrize(
    "cell",
    ["45", "45.0", "45,0", "45Y", "045Y", " 45 years ", "45 yrs.", "540 months", "540M", 45, 45.0, "4.5e1"],
)
def test_parse_age_reads_every_spelling(cell: object) -> None:
    assert parse_age(cell) == (45.0, "")


@pytest.mark.parametrize(
    ("cell", "unit", "years"),
    [
        ("18M", "year", 1.5),
        ("018M", "year", 1.5),
        ("18", "month", 1.5),
        ("1.5Y", "month", 1.5),
        ("052W", "year", 52 * 7 / 365.25),
        ("52", "week", 52 * 7 / 365.25),
        ("300 days", "year", 300 / 365.25),
        ("P45Y", "year", 45.0),
        ("P18M", "year", 1.5),
        ("45 years 6 months", "year", 45.5),
        ("45y, 3m", "year", 45.25),
    ],
)
def test_parse_age_converts_units(cell: str, unit: str, years: float) -> None:
    assert parse_age(cell, unit)[0] == pytest.approx(years)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("89+", "is a bound"),
        (">89", "is a bound"),
        ("90 or older", "is a bound"),
        ("<18", "is a bound"),
        ("over 89", "is a bound"),
        ("40-44", "is a range"),
        ("1950-03-01", "is a date"),
        ("1945-01-01 00:00:00", "is a date"),
        ("1.3.1950", "is a date"),
        ("40 to 44", "is a range"),
        ("-9999", "is outside"),
        ("999", "is outside"),
        ("340", "is outside"),
        ("old", "is no number"),
        ("45 apples", "is no number"),
        ("1.2.3", "is no number"),
        ("inf", "is no number"),
    ],
)
def test_parse_age_returns_a_reason_for_text_without_an_age(cell: str, reason: str) -> None:
    years, why = parse_age(cell)
    assert math.isnan(years)
    assert reason in why
    assert repr(cell) in why
    assert is_age(cell) == ("no number" not in reason)


@pytest.mark.parametrize("cell", ["", "n/a", "NA", None, math.nan, "unknown"])
def test_parse_age_returns_no_reason_for_a_missing_cell(cell: object) -> None:
    years, why = parse_age(cell)
    assert math.isnan(years)
    assert why == ""


def test_age_unit_parses_headers() -> None:
    assert [age_unit(text) for text in ("months", "yr", "a", "in days", "wk")] == [
        "month",
        "year",
        "year",
        "day",
        "week",
    ]
    assert age_unit("gestational weeks") == ""


@pytest.mark.parametrize(
    ("levels", "codes"),
    [
        ({"0": "male", "1": "female"}, {"0": "M", "1": "F", 1: "F", "1.0": "F"}),
        ({"1": "Female", "2": "Male"}, {"1": "F", "2": "M"}),
        ({"M": "mujer", "H": "hombre"}, {"M": "F", "H": "M", "m": "F"}),
        ({"1": "Male participant", "2": "n/a"}, {"1": "M", "2": ""}),
        (None, {"f": "F", "FEMALE": "F", "Male": "M", "w": "F", "o": "", "": ""}),
    ],
)
def test_parse_sex_by_levels(levels: dict[str, str] | None, codes: dict[object, str]) -> None:
    assert {code: parse_sex(code, levels)[0] for code in codes} == codes


@pytest.mark.parametrize("cell", ["0", "1", "2", 1.0, "3", "-1"])
def test_parse_sex_never_guesses_a_code(cell: object) -> None:
    sex, reason = parse_sex(cell)
    assert sex == ""
    assert reason.endswith("is a code without a meaning")
    assert not is_sex(cell)
    assert is_sex("other")


def test_is_gap_excludes_class_names() -> None:
    assert is_missing("None")
    assert not is_gap("None", ["None", "low"])
    assert is_gap("none", ["None", "low"])
    assert is_gap("", [""])
    assert not is_missing_id("NA")
    assert is_missing_id("n/a")


def test_lookalikes_groups_names_that_fold_alike() -> None:
    names = ["Good", "good", "Good\u200b", "Go od", "Go\u00a0od", "bad", "Bad"]
    assert lookalikes(names) == [("Good", "good", "Good\u200b"), ("Go od", "Go\u00a0od"), ("bad", "Bad")]
    assert visible("Good\u200b") == "Good<U+200B>"


def test_decimal_commas_needs_one_that_is_no_thousands_separator() -> None:
    assert decimal_commas(["3,5", "2,125"])
    assert decimal_commas(["0,125"])
    assert not decimal_commas(["3,500", "12"])
    assert is_numeric(["3,5", "n/a", "-2e3"])
    assert not is_numeric(["3", "none at all"])
    assert not is_numeric(["", "n/a"])
