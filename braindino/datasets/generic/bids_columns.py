"""Ages and sexes in BIDS tables: units and codes by the header and the JSON sidecar."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.datasets.cells import age_unit, is_missing, is_numeric, letters_of, parse_age, parse_sex
from braindino.datasets.manifest import further_column
from braindino.errors import TableError

_AGE = re.compile(
    r"(?:(?:participant|patient|subject|session|scan|baseline|chronological)[ _]?)?age"
    r"(?:[ _]?(?:at[ _]?)?(?:scan|mri|baseline|bl|session|visit|imaging))?"
    r"(?:[ _]?(?:in[ _])?[(\[]?(?P<unit>years?|yrs?|y|months?|mos?|weeks?|wks?|days?)[)\]]?)?",
    re.IGNORECASE,
)
_AGE_WORD = re.compile(r"(?:^|[\W_])(?:age|Age|AGE)(?:$|[\W_])|(?<=[a-z])Age(?![a-z])")
_NO_AGES = re.compile(r"group|range|class|onset|diagnos|birth|gestation|menstrual|menarche|bin|categor", re.I)
_UNIT_WORD = re.compile(r"\b(year|month|week|day)s?\b", re.IGNORECASE)
_BEFORE_BIRTH = re.compile(r"gestation\w*|\w*menstrual|\w*conception\w*", re.IGNORECASE)
_SEX = re.compile(
    r"(?:(?:biological|participant|patient|subject)[ _]?)?(?:sex|gender|sexe|sexo|geschlecht)"
    r"(?:[ _](?:at[ _]birth|id|code))?(?:\s*[(\[](?P<codes>.+)[)\]])?",
    re.IGNORECASE,
)
_CODES = re.compile(
    r"['\"]?(?P<code>-?\d+|[a-z])['\"]?\s*(?:=|:|->|is|for)\s*['\"]?(?P<word>females?|males?|women|men|woman|man)\b",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"(?P<code>-?\d+)\s*(?:=|:|->)\s*['\"]?(?P<word>[mf])\b", re.IGNORECASE)
_IN_BRACKETS = re.compile(
    r"\b(?P<word>females?|males?|women|men|woman|man)\s*[(\[](?P<code>-?\d+|[a-z])[)\]]", re.IGNORECASE
)
_WORDS = re.compile(
    r"\b(?P<word>females?|males?|women|men|woman|man)['\"]?\s*(?:=|:|->|is)\s*['\"]?(?P<code>-?\d+|[a-z])\b",
    re.IGNORECASE,
)
Row = dict[str, str]


class BidsColumns:
    """Columns of a BIDS table: those of age and sex, the unit of the age, the codes of the sex.

    Attributes:
        names: all columns.
        age: the column of the age, or None.
        sex: the column of the sex, or None.
        unclear_age: columns that may be an age although their name is not a usual one; empty with `age`.
    """

    def __init__(self, table: pd.DataFrame, sidecar: Mapping[str, Any]) -> None:
        """Find the columns of age and sex by their names.

        Args:
            table: text cells.
            sidecar: content of the JSON file that describes the columns; may be empty.
        """
        self.names = names = [str(name) for name in table.columns]
        self._numeric = {name for name in names if is_numeric(table[name])}
        ages = [name for name in names if _AGE.fullmatch(name)]
        self.age = min(ages, key=lambda name: (name.lower() != "age", names.index(name)), default=None)
        sexes = [name for name in names if _SEX.fullmatch(name)]
        usual = ("sex", "gender")
        self.sex = min(
            sexes, key=lambda name: usual.index(name.lower()) if name.lower() in usual else 2, default=None
        )
        self._unit, self._no_unit = self._age_unit(sidecar)
        self._levels = _levels(_described(sidecar, self.sex), self.sex or "")
        if self.sex is not None and not self._levels:
            self._levels = letters_of(table[self.sex])
        unclear = [name for name in names if _AGE_WORD.search(name) and not _NO_AGES.search(name)]
        self.unclear_age = ", ".join(unclear) if self.age is None else ""

    def has_sex(self, row: Row) -> bool:
        """Return True where a row has a sex."""
        return self.sex is not None and not is_missing(row.get(self.sex))

    def sex_of(self, row: Row) -> tuple[str, str]:
        """Return `F`, `M` or `""`, and the reason where it is blank."""
        return ("", "") if self.sex is None else parse_sex(row.get(self.sex, ""), self._levels)

    def age_of(self, row: Row) -> tuple[str, str]:
        """Return the age in years as text, and the reason where it is blank."""
        cell = "" if self.age is None else row.get(self.age, "")
        if is_missing(cell):
            return "", ""
        if self._no_unit:
            return "", f"age {cell!r} is in {self._no_unit}"
        years, reason = parse_age(cell, self._unit)
        return ("", reason) if reason else (str(years), "")

    def in_years_and_letters(self, table: pd.DataFrame, sidecar: Path) -> pd.DataFrame:
        """Return a table with ages in years and sexes as F or M, if they can be read.

        Args:
            table: text cells.
            sidecar: file of the sidecar, for messages.

        Raises:
            TableError: the sidecar gives a unit of ages that is no unit of time.
        """
        changed: dict[str, list[str]] = {}
        if self.age is not None and self.age.lower() == "age":
            if self._no_unit:
                raise TableError(
                    f"{sidecar}: ages are in {self._no_unit}, which is no unit of time.\n"
                    'Write "Units" as year, month, week or day.'
                )
            changed[self.age] = [self.age_of({self.age: cell})[0] or cell for cell in table[self.age]]
        if self.sex is not None and self._levels:
            changed[self.sex] = [parse_sex(cell, self._levels)[0] or cell for cell in table[self.sex]]
        return table.assign(**changed)

    def further(self, row: Row) -> Row:
        """Return the cells of all columns but ids, sex and age, by their name in a manifest.

        A column `site` is the manifest's column `site`.
        """
        standard = {self.age, self.sex, "participant_id", "session_id"}
        names = [name for name in self.names if name and name not in standard]
        return {
            "site" if name.lower() == "site" else further_column(name): self._cell(name, row.get(name, ""))
            for name in names
        }

    def _cell(self, name: str, cell: str) -> str:
        """Return a cell, blank where it is missing; in columns of text, more words may be classes."""
        gap = is_missing(cell) if name in self._numeric else cell.lower() in ("n/a", "nan")
        return "" if gap else cell

    def _age_unit(self, sidecar: Mapping[str, Any]) -> tuple[str, str]:
        """Return the unit of ages, and the sidecar's unit where that is no unit of time."""
        if self.age is None:
            return "year", ""
        described = _described(sidecar, self.age)
        given = described.get("units", "")
        text = " ".join(str(described.get(key, "")) for key in ("units", "description", "longname"))
        if before := _BEFORE_BIRTH.search(text):
            return "year", f"{before[0]} age"
        if given and not isinstance(given, str):
            return "year", f"units {given!r}"
        if given and not is_missing(given):
            return (age_unit(given), "") if age_unit(given) else ("year", f"units {given!r}")
        match = _AGE.fullmatch(self.age)
        if match and match["unit"]:
            return age_unit(match["unit"]), ""
        words = {word.lower() for word in _UNIT_WORD.findall(text)}
        if len(words) > 1 and "year" not in words:
            return "year", f"{' or '.join(sorted(words))}s"
        return words.pop() if len(words) == 1 else "year", ""


def _levels(described: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return code -> meaning of a column, by `Levels`, else by description or name (`1 = male`)."""
    levels = described.get("levels")
    if isinstance(levels, dict) and levels:
        named = {str(code): _meaning(meaning) for code, meaning in levels.items()}
        by_meaning = {meaning: code for code, meaning in named.items()}
        turned = all(parse_sex(code)[0] for code in named) and len(by_meaning) == len(named)
        # {"male": 0, "female": 1} is inverted but unambiguous.
        return by_meaning if turned and not all(parse_sex(m)[0] for m in by_meaning) else named
    text = " ".join([*(str(described.get(key, "")) for key in ("description", "longname", "units")), name])
    for pattern in (_CODES, _WORDS, _IN_BRACKETS, _LETTERS):
        codes = {match["code"]: match["word"] for match in pattern.finditer(text)}
        if len({parse_sex(word)[0] for word in codes.values()}) == 2:
            return codes
    return {}


def _meaning(level: Any) -> str:
    """Return the text of a level; in newer sidecars it is an object with a description."""
    return str(level.get("Description", "")) if isinstance(level, dict) else str(level)


def _described(sidecar: Mapping[str, Any], column: str | None) -> Mapping[str, Any]:
    """Return a column's entry of a sidecar, with keys in lower case; case of names is ignored."""
    names = {str(name).lower(): value for name, value in sidecar.items()}
    value = names.get((column or "").lower())
    return {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
