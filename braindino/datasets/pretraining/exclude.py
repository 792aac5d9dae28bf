"""Read lists of people and scans to exclude from pretraining, and match them with a store."""

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
_IN_FOLDER = ("cases.csv", "pretraining_people.txt")  # in a probe's run, in an exported encoder
_COLUMNS = {
    "group": ("group",),
    "path": ("path", "file", "file_path", "filename", "image", "image_path", "scan", "nifti"),
    SCANS: (SCANS,),
    "split": ("split",),
}


@dataclass(frozen=True)
class Exclusion:
    """Scans that a list excludes from a table.

    Attributes:
        rows: per scan, True if its person is listed.
        by_content: number of people who match only by the content of a scan.
        entries: number of rows or lines of the list.
        unmatched: entries that match no scan, as written in the list; without digests of persons.
    """

    rows: pd.Series
    by_content: int
    entries: int
    unmatched: tuple[str, ...]


def find_excluded(file: Path, scans: pd.DataFrame, contents: Sequence[Collection[str]] = ()) -> Exclusion:
    """Find the people of a list by their keys, and by paths and content of their scans.

    The list is one of:

    - text with one entry per line, `#` starts a comment: a person (`<dataset>:<subject>`), a path, or a
      digest as in `pretraining_people.txt`;
    - a table with a column `group`, `path` or `scans`: a manifest, a table with paths, or the `cases.csv` of
      a probe. If it has a column `split`, only people in val and test are excluded, so that `cases.csv`
      excludes the people that a probe is evaluated on;
    - the folder of such a probe, or of an exported encoder.

    Paths are absolute or relative to the list; a file that is not in `scans` is read, to find copies of it.
    All scans of a matching person are excluded.

    Args:
        file: the list.
        scans: columns `group`, `path`.
        contents: per row of `scans`, its digests from `Store.digests`.

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

    by_name = Seen(frozenset(paths)).people_among(scans["group"])
    by_name |= set(scans.loc[scans["path"].isin(set(paths.values())), "group"])
    matches = [wanted.intersection(digests) for digests in contents] or [set() for _ in range(len(scans))]
    by_content = set(scans.loc[[bool(digests) for digests in matches], "group"])

    present = {*scans["group"], *set().union(*matches)}
    present |= {name for name, path in paths.items() if path in known}
    present |= {name for name, digest in copies.items() if digest and digest in present}
    unmatched = [next(iter(entry)) for entry in entries if not present.intersection(entry)]
    reported = tuple(name for name in unmatched if not is_person_digest(name))
    rows = scans["group"].isin(_under_any_name(scans, by_name | by_content, contents))
    return Exclusion(rows, len(by_content - by_name), len(entries), reported)


def _under_any_name(scans: pd.DataFrame, people: set[str], contents: Sequence[Collection[str]]) -> set[str]:
    """Return people together with all who share a scan with one of them, transitively."""
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
    """Return True if a list contains scans, as digests or files, besides people.

    Args:
        file: see `find_excluded`.
    """
    base = file.absolute().parent
    names = {name for entry in _entries(_file_of(file)) for name in entry}
    return any(is_scan(name) or os.path.isfile(base / name) for name in names)  # noqa: PTH113


def refuse_no_match(file: Path, exclusion: Exclusion, scans: pd.DataFrame, store: Path) -> None:
    """Check that a list excludes at least one scan.

    Args:
        file: the list.
        exclusion: matches of the list.
        scans: columns `group`, `path`.
        store: folder of the store, for the message.

    Raises:
        BraindinoError: no entry matches.
    """
    if exclusion.rows.any():
        return
    first = f", the first is {exclusion.unmatched[0]!r}" if exclusion.unmatched else ""
    raise BraindinoError(
        f"{file}: none of its {exclusion.entries} entries is a person or a scan of {store}{first}; a person "
        f"of the store is {scans['group'].iloc[0]!r}.\nPeople match by `<dataset>:<id>`, or by scans of "
        "equal content if the list has paths (a manifest) or digests (cases.csv of a probe).\n"
        "If no person of the list is expected to be in the store, remove data.exclude."
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
        raise BraindinoError(f"{file}: contains no entries. Remove the option, or add people to the list.")
    return entries


def _of_table(file: Path) -> list[tuple[str, ...]]:
    table = read_table(file, {}, _COLUMNS)
    if "split" in table:
        table = table[table["split"].isin(["val", "test"])].drop(columns="split")
    if table.columns.empty:
        raise BraindinoError(
            f"{file}: a table of what to exclude needs a column `group` (a person), `path` or `{SCANS}`."
        )
    entries = [
        tuple(
            part for name, cell in row.items() for part in (cell.split() if name == SCANS else [cell]) if part
        )
        for row in table.to_dict("records")
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
    """Return the digest of a file, or `""` if there is no such file."""
    # Most entries are keys of people; os.path is faster than pathlib.
    if not os.path.isfile(path):  # noqa: PTH113
        return ""
    try:
        return f"{FILE_DIGEST}{content_digest(path)}"
    except ScanError:
        return ""
