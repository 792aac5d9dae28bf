"""Exclude lists: the people and scans that pretraining must not see."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braindino.datasets.tables import read_table
from braindino.errors import BraindinoError, ScanError
from braindino.scans.reading import content_digest
from braindino.scans.seen import FILE_DIGEST, Seen, is_person_digest, is_scan

SCANS = "scans"  # column of a table: digests of a case's scans, separated by blanks
_TABLES = (".csv", ".tsv", ".xlsx", ".xls")
_IN_FOLDER = ("cases.csv", "pretraining_people.txt")  # of a probe's run, of an exported encoder
_COLUMNS = {
    "group": ("group",),
    "path": ("path", "file", "file_path", "filename", "image", "image_path", "scan", "nifti"),
    SCANS: (SCANS,),
    "split": ("split",),
}


@dataclass(frozen=True)
class Exclusion:
    """What a list leaves out of a table of scans.

    Attributes:
        rows: per scan, whether its person is listed.
        by_content: people found only because a scan of theirs has the content of a listed one.
        entries: rows or lines of the list.
        unmatched: those that match no scan, as the list has them; not known of digests of persons.
    """

    rows: pd.Series
    by_content: int
    entries: int
    unmatched: tuple[str, ...]


def excluded(file: Path, scans: pd.DataFrame, contents: Sequence[Collection[str]] = ()) -> Exclusion:
    """Find the people whom a list names, by their keys, by the paths of scans, and by the content of scans.

    The list is text with one entry per line, `#` starts a comment: a person (`<dataset>:<subject>`), a path,
    or a digest as `pretraining_people.txt` has them. Or it is a table with a column `group`, `path` or
    `scans`: a manifest, a table of your own with paths, or the `cases.csv` of a probe. Where it also has a
    column `split`, only the people in val and test are meant: so `cases.csv` keeps pretraining off those a
    probe is judged by. Or it is the folder of such a probe, or of an exported encoder. Paths are absolute or
    relative to the list; a file that is none of `scans` is read, to find a copy of it. Of a person who is
    found all scans are meant.

    Args:
        file: the list.
        scans: columns `group`, `path`.
        contents: per row of `scans`, its digests as `Store.digests` gives them.

    Raises:
        BraindinoError: the file cannot be read, is empty, or is a table without any of the columns.
    """
    file = _file_of(file)
    entries = _entries(file)
    base = file.absolute().parent
    paths = {name: os.path.normpath(base / name) for entry in entries for name in entry}
    known = set(scans["path"])
    copies = {name: _content(path) for name, path in paths.items() if contents and path not in known}
    wanted = {name for entry in entries for name in entry if is_scan(name)} | set(copies.values()) - {""}

    named = Seen(frozenset(paths)).people_among(scans["group"])
    named |= set(scans.loc[scans["path"].isin(set(paths.values())), "group"])
    found = [wanted.intersection(digests) for digests in contents] or [set() for _ in range(len(scans))]
    by_content = set(scans.loc[[bool(digests) for digests in found], "group"])

    present = {*scans["group"], *set().union(*found)}
    present |= {name for name, path in paths.items() if path in known}
    present |= {name for name, digest in copies.items() if digest and digest in present}
    unmatched = [next(iter(entry)) for entry in entries if not present.intersection(entry)]
    lost = tuple(name for name in unmatched if not is_person_digest(name))
    rows = scans["group"].isin(_under_any_name(scans, named | by_content, contents))
    return Exclusion(rows, len(by_content - named), len(entries), lost)


def _under_any_name(scans: pd.DataFrame, people: set[str], contents: Sequence[Collection[str]]) -> set[str]:
    """Return people, and those of other names who have a scan of theirs."""
    if not contents:
        return people
    links = (
        pd.DataFrame({"group": scans["group"].to_numpy(), "scan": list(contents)}).explode("scan").dropna()
    )
    while True:
        shared = links["scan"].isin(set(links.loc[links["group"].isin(people), "scan"]))
        more = people | set(links.loc[shared, "group"])
        if more == people:
            return people
        people = more


def has_scans(file: Path) -> bool:
    """Return whether a list names scans, by digests or by files, besides people."""
    base = file.absolute().parent
    names = {name for entry in _entries(_file_of(file)) for name in entry}
    return any(is_scan(name) or os.path.isfile(base / name) for name in names)  # noqa: PTH113


def refuse_no_match(file: Path, exclusion: Exclusion, scans: pd.DataFrame, store: Path) -> None:
    """Raise BraindinoError when a list leaves nobody out of a store."""
    if exclusion.rows.any():
        return
    first = f", the first is {exclusion.unmatched[0]!r}" if exclusion.unmatched else ""
    raise BraindinoError(
        f"{file}: none of its {exclusion.entries} entries is a person or a scan of {store}{first}; people "
        f"there are called such as {scans['group'].iloc[0]!r}.\nPeople match by `<dataset>:<id>`, or by "
        "scans of equal content where the list has paths (a manifest) or digests (cases.csv of a probe).\n"
        "If nobody of the list is meant to be in the store, leave data.exclude out."
    )


def _file_of(file: Path) -> Path:
    if not file.is_dir():
        return file
    inside = next((file / name for name in _IN_FOLDER if (file / name).is_file()), None)
    if inside is None:
        raise BraindinoError(f"{file}: is a folder without {' or '.join(_IN_FOLDER)}; name the list itself.")
    return inside


def _entries(file: Path) -> list[tuple[str, ...]]:
    entries = _of_table(file) if file.suffix.lower() in _TABLES else _of_text(file)
    if not entries:
        raise BraindinoError(f"{file}: names nobody to exclude. Leave the option out, or fill the list.")
    return entries


def _of_table(file: Path) -> list[tuple[str, ...]]:
    table = read_table(file, {}, _COLUMNS)
    if "split" in table:
        table = table[table["split"].isin(["val", "test"])].drop(columns="split")
    if table.columns.empty:
        raise BraindinoError(
            f"{file}: a table of what to exclude needs a column `group` (a person), `path` or `{SCANS}`."
        )
    split = {name: name == SCANS for name in table}
    rows = table.to_dict("records")
    entries = [
        tuple(part for name in split for part in (row[name].split() if split[name] else [row[name]]) if part)
        for row in rows
    ]
    return [entry for entry in entries if entry]


def _of_text(file: Path) -> list[tuple[str, ...]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BraindinoError(f"{file}: cannot be read as text in UTF-8 ({error}).") from error
    names = (line.partition("#")[0].strip() for line in lines)
    return [(name,) for name in dict.fromkeys(names) if name]


def _content(path: str) -> str:
    """The digest of a file, or "" where there is none."""
    if not os.path.isfile(path):  # noqa: PTH113 - most are keys of people, which are cheap to pass over so
        return ""
    try:
        return f"{FILE_DIGEST}{content_digest(path)}"
    except ScanError:
        return ""
