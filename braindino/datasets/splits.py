"""Split cases by person, deterministically: hold-out, k-fold, nested fractions, a file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from braindino.datasets.tables import read_table
from braindino.errors import SplitError

PARTS = ("train", "val", "test")
SEPARATOR = "\x1f"  # not NUL: pandas 2 sorts and groups text up to the first NUL only
ColumnNames = str | Sequence[str] | None


def split_people(
    cases: pd.DataFrame,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    stratify: ColumnNames = None,
    seed: int = 0,
    complete: bool = True,
) -> pd.Series:
    """Assign every case to "train", "val" or "test", with no person (`group`) in two of them.

    People are sorted by stratum and, within it, by a hash of seed and name; each in turn goes to the part
    that is furthest below its fraction. The result depends on neither the order of the rows nor the version
    of a random generator, and each stratum is divided to within one person. (scikit-learn's
    StratifiedGroupKFold only makes equal folds; `kfold_people` uses it.)

    Args:
        cases: one row per case with a column `group`.
        fractions: fractions of people, for train, val and test; a part with fraction 0 stays empty.
        stratify: column name(s); the values of the first are the classes. A person with several values counts
            as the rarest of them.
        seed: another seed gives another split.
        complete: every part must contain every class; False for classes that are bins of a number.

    Returns:
        Series of part names, on the index of `cases`.

    Raises:
        SplitError: bad fractions, or a class with too few people to be in every part.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6 or shares[0] == 0:
        raise SplitError(
            f"fractions {tuple(fractions)}: three numbers (train, val, test) must sum to 1, train above 0."
        )
    people = _people(cases, stratify, f"split:{seed}")
    counts = np.zeros(3)
    parts = np.empty(len(people), dtype=int)
    for i in range(len(people)):
        need = np.where(shares > 0, shares * (i + 1) - counts, -np.inf)
        parts[i] = int(need.argmax())
        counts[parts[i]] += 1
    used = np.flatnonzero(shares)
    if stratify is not None and complete:
        _give_each_class_to_each_part(people["class"].to_numpy(), parts, used)
    of_person = pd.Series(np.asarray(PARTS)[parts], index=people.index)
    split = cases["group"].map(of_person).rename("split")
    if stratify is not None and complete:
        _check_classes(cases, split, stratify, [PARTS[k] for k in used])
    return split


def kfold_people(
    cases: pd.DataFrame, folds: int = 5, stratify: ColumnNames = None, seed: int = 0, complete: bool = True
) -> pd.Series:
    """Return the fold of every case, by person (scikit-learn's StratifiedGroupKFold).

    Args:
        cases: one row per case with a column `group`.
        folds: number of folds, at least two.
        stratify: see `split_people`.
        seed: another seed gives other folds.
        complete: every fold must contain every class; False for classes that are bins of a number.

    Returns:
        Series of int64 on the index of `cases`.

    Raises:
        SplitError: fewer than two folds, or a class (first column of `stratify`) smaller than that.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    people = _people(cases, stratify, "").sort_index()
    strict = stratify is not None and complete
    counts = pd.Series({"the dataset": len(people)})
    if strict:
        assert stratify is not None
        counts = cases.groupby(stratify if isinstance(stratify, str) else stratify[0])["group"].nunique()
    if folds < 2 or counts.min() < folds:
        raise SplitError(
            f"{folds} folds cannot be made: {str(counts.idxmin())!r} has {counts.min()} people. "
            "Use from 2 folds to the number of people in the smallest class."
        )
    frame = cases.assign(stratum=cases["group"].map(people["stratum"])).sort_values("group", kind="stable")
    # Strata too small to be in every fold are pooled by class, and small classes by all.
    stratum = frame["stratum"]
    for pool in (frame["group"].map(people["class"]), pd.Series("", index=frame.index)):
        small = stratum.map(frame.groupby(stratum)["group"].nunique()) < folds
        stratum = stratum.mask(small, SEPARATOR + pool)
    if (stratum == SEPARATOR).any() and frame.loc[stratum == SEPARATOR, "group"].nunique() < folds:
        stratum = stratum.replace(SEPARATOR, stratum.mode()[0])
    splitter = (GroupKFold if stratify is None else StratifiedGroupKFold)(
        folds, shuffle=True, random_state=seed
    )
    number = pd.Series(-1, index=frame.index, name="fold")
    for k, (_, rows) in enumerate(splitter.split(frame, stratum, frame["group"])):
        number.iloc[rows] = k
    return number.reindex(cases.index)


def parts_of_fold(fold: pd.Series, number: int, folds: int) -> pd.Series:
    """Return the part of every case when one fold is tested; val is the fold after it.

    With two folds there is no val part.

    Args:
        fold: fold of every case, from 0.
        number: the fold to test.
        folds: number of folds.
    """
    names = {number: "test"} | ({(number + 1) % folds: "val"} if folds > 2 else {})
    return fold.map(lambda k: names.get(k, "train")).rename("split")


def nested_fraction(
    train_cases: pd.DataFrame, fraction: float, seed: int = 0, stratify: ColumnNames = None
) -> pd.DataFrame:
    """Return the cases of a fraction of the people, stratified and nested.

    For one seed, a smaller fraction is a subset of a larger one. Every class (first column of `stratify`)
    has at least one person in every fraction.

    Args:
        train_cases: one row per case with a column `group`.
        fraction: above 0, at most 1.
        seed: another seed gives other people.
        stratify: see `split_people`.

    Raises:
        SplitError: a fraction out of range.
    """
    if not 0 < fraction <= 1:
        raise SplitError(f"label fraction {fraction}: must be above 0 and at most 1.")
    people = _people(train_cases, stratify, f"fraction:{seed}")
    rank = people.groupby("stratum", sort=False).cumcount()
    size = people["stratum"].map(people.groupby("stratum").size())
    # Any prefix of this order has the share of every stratum, to within one person.
    place = (rank + 0.5) / size
    order = place.sort_values(kind="stable").index
    chosen = set(order[: max(1, round(fraction * len(people)))])
    chosen |= set(people.loc[order].reset_index().groupby("class")["group"].first())
    return train_cases[train_cases["group"].isin(chosen)]


def read_split(csv: Path | str, cases: pd.DataFrame) -> pd.Series:
    """Return the part of every case from a table with `case` or `group`, and `split`.

    A split is train, val, test, or `none` (or blank) to exclude a case. `case` is used if the table has both
    columns, so that the `cases.csv` of a run can be given. Names that match no case are ignored.

    Args:
        csv: the table.
        cases: one row per case with the columns `case` and `group`.

    Returns:
        Series on the index of `cases`.

    Raises:
        SplitError: an unknown split, a case without a row, or a person in two parts.
    """
    csv = Path(csv)
    table = read_table(csv, {"split": ("split",)}, optional={"case": ("case",), "group": ("group",)})
    if "case" not in table and "group" not in table:
        raise SplitError(f"{csv}: needs the column `split` and one of `case` and `group` (a person).")
    by = "case" if "case" in table else "group"
    table = table.assign(split=table["split"].str.lower().replace("", "none"))
    bad = ~table["split"].isin([*PARTS, "none"])
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise SplitError(
            f"{csv}, line {row + 2}, column 'split': {table['split'].iloc[row]!r} is none of "
            f"{', '.join(PARTS)}, none."
        )
    pairs = table.drop_duplicates([by, "split"])
    twice = pairs[pairs[by].duplicated()]
    if len(twice):
        raise SplitError(f"{csv}: {by} {twice[by].iloc[0]!r} has two splits; give one.")
    split = cases[by].map(pairs.set_index(by)["split"]).rename("split")
    if split.isna().any():
        missing = cases.loc[split.isna(), by]
        raise SplitError(
            f"{csv}: no row for {missing.nunique()} {by}s, the first is {missing.iloc[0]!r}.\n"
            "Add them; the split `none` excludes a case."
        )
    shared = (
        pd.DataFrame({"group": cases["group"], "split": split}).query("split != 'none'").drop_duplicates()
    )
    shared = shared[shared["group"].duplicated()]
    if len(shared):
        raise SplitError(
            f"{csv}: person {shared['group'].iloc[0]!r} is in two parts ({len(shared)} people are); "
            "all cases of a person belong in one."
        )
    return split


def bins(values: pd.Series, count: int = 5) -> pd.Series:
    """Return the quantile bin of every value, to stratify by; fewer bins if values repeat.

    Args:
        values: numbers such as ages.
        count: number of bins.
    """
    return pd.qcut(values, min(count, values.nunique()), labels=False, duplicates="drop")


def _people(cases: pd.DataFrame, stratify: ColumnNames, salt: str) -> pd.DataFrame:
    """Return a row per person with `stratum` and `class`, sorted by stratum and salted hash."""
    columns = [stratify] if isinstance(stratify, str) else list(stratify or ())
    values = pd.DataFrame({"group": cases["group"]})
    for column in columns:
        values[column] = cases[column].astype(str)
    people = pd.DataFrame(index=pd.Index(sorted(set(values["group"])), name="group"))
    for column in columns:
        frequency = values[column].map(values[column].value_counts())
        rarest = values.assign(frequency=frequency).sort_values(["frequency", column], kind="stable")
        people[column] = rarest.groupby("group")[column].first()
    people["stratum"] = people[columns].agg(SEPARATOR.join, axis=1) if columns else "all"
    people["class"] = people[columns[0]] if columns else "all"
    people["hash"] = [hashlib.sha256(f"{salt}:{name}".encode()).hexdigest() for name in people.index]
    return people.sort_values(["stratum", "hash"])[["stratum", "class"]]


def _give_each_class_to_each_part(classes: np.ndarray, parts: np.ndarray, used: np.ndarray) -> None:
    """Move a person of a class into each part that lacks it, from the part with most."""
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        for part in used:
            counts = np.array([(parts[members] == k).sum() for k in range(3)])
            if counts[part] == 0 and counts.max() > 1:
                donors = members[parts[members] == counts.argmax()]
                parts[donors[-1]] = part


def _check_classes(
    cases: pd.DataFrame, split: pd.Series, stratify: str | Sequence[str], parts: Sequence[str]
) -> None:
    column = stratify if isinstance(stratify, str) else stratify[0]
    for value, rows in cases.groupby(column):
        absent = [part for part in parts if part not in set(split[rows.index])]
        if absent:
            raise SplitError(
                f"{column} {value!r} has {rows['group'].nunique()} people, too few to be in "
                f"{', '.join(absent)} as well.\nAdd people, exclude the class, or give your own split file."
            )
