"""Parse cells of tables: missing values, ages, sexes, lookalike spellings."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping

AGE_RANGE = (0.0, 120.0)  # years
_GAPS = {"", "n/a", "na", "nan", "none", "null", "unknown", "not available", "not applicable", "."}
_GAPS |= {"#n/a", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!"}  # errors of Excel
_NAMES = {"na", "none", "null"}
_FEMALE = (
    "f female females w woman women girl girls femme féminin feminin feminine weiblich mujer femenino femmina"
)
_MALE = "m male males man men boy boys homme masculin masculine männlich maennlich hombre masculino maschio"
_SEX = dict.fromkeys(_FEMALE.split(), "F") | dict.fromkeys(_MALE.split(), "M")
_NEITHER = {"o", "other", "x", "d", "diverse", "intersex", "non-binary", "nonbinary"}
_PER_YEAR = {"year": 1.0, "month": 12.0, "week": 365.25 / 7, "day": 365.25}
_UNITS = {
    "year": ("a", "y", "yr", "yrs", "year", "years", "year(s)", "annum", "yo", "y.o", "y/o", "years old"),
    "month": ("m", "mo", "mos", "mth", "mths", "month", "months", "month(s)"),
    "week": ("w", "wk", "wks", "week", "weeks", "week(s)"),
    "day": ("d", "day", "days", "day(s)"),
}
_UNIT = {word: unit for unit, words in _UNITS.items() for word in words}
_NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?)\s*(.*)", re.IGNORECASE)
_NUMERIC = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_BOUND = re.compile(
    r"[<>≤≥]|\+\s*$|^\s*(over|under|above|below|at least|up to)\b"
    r"|\b(or|and) (older|over|above|more|younger|under)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}([T ].*)?|\d{1,2}([-/.])\d{1,2}\3\d{4}")
_TWO_UNITS = re.compile(r"(\d+)\s*([a-z]+)[.,]?\s*(?:and\s*)?(\d+)\s*([a-z]+)\.?", re.IGNORECASE)
_RANGE = re.compile(r"\d\s*(-|\u2013|\u2014|to|\.\.+)\s*\d")


def is_missing(value: object) -> bool:
    """Return True for a cell that means the value is not known (blank, `n/a`, NaN, ...)."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return str(value).strip().lower() in _GAPS


def is_missing_id(value: object) -> bool:
    """Return True for a cell that is no id; a person may be called NA, None or Null."""
    return is_missing(value) and str(value).strip().lower() not in _NAMES


def is_gap(value: object, names: Iterable[str]) -> bool:
    """Return True for a missing cell that is not in `names`; a class may be named `NA`."""
    return is_missing(value) and (str(value).strip() not in names or str(value).strip() == "")


def parse_age(cell: object, unit: str = "year") -> tuple[float, str]:
    """Return an age in years, and the reason if a cell that is not blank has no age.

    Numbers may have a decimal point or comma and a unit: `45`, `45,5`, `45Y`, `045Y`, `18M` (months, as in
    DICOM), `6 months`, `52w`, `45 years 3 months`, `P45Y` (ISO 8601). Bounds (`89+`, `>89`, `90 or older`),
    ranges (`40-44`), dates and numbers outside 0 to 120 years are no ages.

    Args:
        cell: cell of a table.
        unit: unit of a number without one: year, month, week or day.

    Returns:
        years: NaN if there is no age.
        reason: `""` for an age and for a blank.
    """
    if is_missing(cell):
        return math.nan, ""
    text = str(cell).strip()
    if _DATE.fullmatch(text):
        return math.nan, f"age {text!r} is a date"
    if _RANGE.search(text):
        return math.nan, f"age {text!r} is a range"
    if _BOUND.search(text):
        return math.nan, f"age {text!r} is a bound, not an age"
    years, unit = _in_years(text, unit)
    if math.isnan(years):
        return math.nan, f"age {text!r} is no number of years"
    if not AGE_RANGE[0] <= years <= AGE_RANGE[1]:
        return math.nan, f"age {text!r} ({unit}s) is outside of {AGE_RANGE[0]:g} to {AGE_RANGE[1]:g} years"
    return years, ""


def _in_years(text: str, unit: str) -> tuple[float, str]:
    """Return years (or NaN) and unit of `45Y`, `3 years 2 months` or a number in `unit`."""
    text = re.sub(r"^[Pp](?=\d)", "", text)
    if two := _TWO_UNITS.fullmatch(text):
        first, second = (_UNIT.get(two[i].lower(), "") for i in (2, 4))
        if first and second and first != second:
            return float(two[1]) / _PER_YEAR[first] + float(two[3]) / _PER_YEAR[second], first
    match = _NUMBER.fullmatch(text)
    suffix = match[2].strip().lower().rstrip(".") if match else ""
    name = _UNIT.get(suffix, "") if suffix else unit
    if match is None or name not in _PER_YEAR:
        return math.nan, name
    return float(match[1].replace(",", ".")) / _PER_YEAR[name], name


def letters_of(cells: Iterable[object]) -> dict[str, str]:
    """Return the meaning of letters for sex that depends on the other letters of the column.

    `H` beside `F` is homme. `H` beside `M` is hombre, and `M` may be mujer.
    """
    letters = {str(cell).strip().upper() for cell in cells}
    if "H" not in letters or {"M", "F"} <= letters:
        return {}
    return {"H": "male"} | ({"M": "male or mujer"} if "M" in letters else {})


def is_age(cell: object) -> bool:
    """Return False for a cell that has no age, bound or range of ages."""
    return not parse_age(cell)[1].endswith("is no number of years")


def age_unit(text: str) -> str:
    """Return the unit of age that is spelt `months`, `yr`, `d`, ..., or `""`."""
    return _UNIT.get(re.sub(r"^in\s+", "", text.strip().lower()), "")


def parse_sex(cell: object, levels: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return `F`, `M` or `""`, and the reason if a cell that is not blank has no sex.

    Words and letters are parsed. Codes (0, 1, 2) need `levels`, because studies use them in either way.

    Args:
        cell: cell of a table.
        levels: code -> meaning, such as {"0": "male", "1": "female"}.

    Returns:
        sex: `F`, `M` or `""`.
        reason: `""` for a sex and for a blank.
    """
    text = str(cell).strip()
    code = re.sub(r"\.0+$", "", text)
    by_code = {str(key).strip().lower(): str(value) for key, value in (levels or {}).items()}
    meaning = by_code.get(text.lower(), by_code.get(code.lower()))
    if meaning is not None:
        sex = _sex_in(meaning)
        gap = is_missing(meaning) or meaning.strip().lower() in _NEITHER
        return sex, "" if sex or gap else f"sex {text!r} means {meaning!r}, neither female nor male"
    if is_missing(cell):
        return "", ""
    sex = _SEX.get(text.lower(), "")
    if sex:
        return sex, ""
    if text.lower() in _NEITHER:
        return "", f"sex {text!r} is neither F nor M"
    problem = "a code without a meaning" if re.fullmatch(r"-?[0-9]+", code) else "no sex"
    return "", f"sex {text!r} is {problem}"


def is_sex(cell: object, levels: Mapping[str, str] | None = None) -> bool:
    """Return False for a code without a meaning and for text that is no sex; True for a blank."""
    return not parse_sex(cell, levels)[1].endswith(("without a meaning", "is no sex"))


def _sex_in(meaning: str) -> str:
    """Return the sex in a text such as `Male participant` or `female (at birth)`, or `""`."""
    words = {_SEX.get(word, "") for word in re.findall(r"[^\W\d_]+", meaning.lower())} - {""}
    return words.pop() if len(words) == 1 else ""


def visible(text: str) -> str:
    """Return a text with invisible characters written out: `Good<U+200B>`."""
    return "".join(f"<U+{ord(c):04X}>" if _is_invisible(c) else c for c in text)


def fold(text: str) -> str:
    """Return a text normalised in case, blanks, dashes, numbers and invisible characters."""
    plain = re.sub("[\u2010-\u2015\u2212]", "-", same_characters(text).casefold())
    return repr(float(plain)) if _NUMERIC.fullmatch(plain) and "," not in plain else plain


def same_characters(text: str) -> str:
    """Return a text in Unicode form NFKC, without invisible characters and with single blanks."""
    plain = unicodedata.normalize("NFKC", "".join(c for c in text if not _is_hidden(c)))
    return " ".join(plain.split())


def lookalikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of names that differ only in ways that `fold` removes."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(fold(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def decimal_commas(cells: Iterable[str]) -> bool:
    """Return True if commas are decimal: at least one cannot be a thousands separator."""
    commas = [cell.strip() for cell in cells if re.fullmatch(r"\s*[+-]?\d*,\d+\s*", cell)]
    return any(not re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) for cell in commas)


def is_numeric(cells: Iterable[str]) -> bool:
    """Return True for a column of numbers and missing cells only."""
    filled = [cell for cell in cells if not is_missing(cell)]
    return bool(filled) and all(_NUMERIC.fullmatch(cell.strip()) for cell in filled)


def _is_hidden(character: str) -> bool:
    """Return True for characters without width: zero-width space, joiners, controls."""
    return unicodedata.category(character) in ("Cf", "Cc") and character not in "\t\n\r"


def _is_invisible(character: str) -> bool:
    return _is_hidden(character) or (character.isspace() and character != " ")
