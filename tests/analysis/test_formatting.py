"""Test the text of numbers, intervals, p values and tables."""

import pytest

from braindino.analysis.formatting import (
    align_columns,
    format_difference,
    format_interval,
    format_number,
    format_p_value,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-12.345, "-12.35"), (None, "undefined"), (float("nan"), "undefined")],
)
def test_format_number_has_three_decimals_below_ten(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_format_interval_omits_an_undefined_interval() -> None:
    assert format_interval({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.500 [0.400, 0.600]"
    assert format_interval({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert format_interval({"value": None, "low": float("nan"), "high": float("nan")}) == "undefined"


def test_format_p_value_has_a_smallest_value() -> None:
    assert [format_p_value(p) for p in (0.0004, 0.001, 0.5, None)] == ["<0.001", "0.001", "0.500", ""]


def test_align_columns_separates_columns_by_two_spaces() -> None:
    assert align_columns([["a", "metric"], ["long", "1"]]) == ["a     metric", "long  1"]


def test_format_difference_gives_each_number_its_sign() -> None:
    assert format_difference({"value": 0.012, "low": -0.003, "high": 0.021}) == "+0.012 [-0.003, +0.021]"
    assert format_difference({"value": 12.5, "low": None, "high": None}) == "+12.50"
    assert format_difference({"value": None, "low": None, "high": None}) == "undefined"
