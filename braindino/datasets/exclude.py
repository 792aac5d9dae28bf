"""Exclude lists: the people and files that pretraining must not see."""

import os
from pathlib import Path

import pandas as pd

from braindino.datasets.tables import read_table
from braindino.errors import BraindinoError


def excluded(file: Path, scans: pd.DataFrame) -> pd.Series:
    """Which rows of `scans` (columns `group`, `path`) a list names.

    The list is text with one person (`<dataset>:<subject>`) or path per line, `#` starts a comment; or a CSV
    with a column `group` or `path`, such as a manifest. Where it also has a column `split`, only the people
    in val and test are meant: so the `cases.csv` of a probe keeps pretraining off those it is judged by.
    Paths are absolute or relative to the list.

    Raises:
        BraindinoError: the file cannot be read, is empty, or is a CSV without either column.
    """
    if file.suffix.lower() == ".csv":
        table = read_table(file, {}, {"group": ("group",), "path": ("path",), "split": ("split",)})
        if "split" in table:
            table = table[table["split"].isin(["val", "test"])].drop(columns="split")
        if table.columns.empty:
            raise BraindinoError(f"{file}: a CSV of what to exclude needs a column `group` or `path`.")
        names = {cell for column in table for cell in table[column] if cell}
    else:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BraindinoError(f"{file}: cannot be read as text in UTF-8 ({error}).") from error
        names = {line.partition("#")[0].strip() for line in lines} - {""}
    if not names:
        raise BraindinoError(f"{file}: names nobody to exclude. Leave the option out, or fill the list.")
    base = file.absolute().parent
    paths = {os.path.normpath(base / name) for name in names}
    return scans["group"].isin(names) | scans["path"].isin(paths)
