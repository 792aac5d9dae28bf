"""From the rows of one's own table to scans: which file, whose, of which session and sequence."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from braindino.datasets.cells import (
    is_age,
    is_missing,
    is_missing_id,
    is_numeric,
    is_sex,
    letters_of,
    parse_sex,
    same_characters,
    visible,
)
from braindino.datasets.discovery import stem, unusable
from braindino.datasets.generic.folder import modality_of
from braindino.datasets.generic.persons import (
    IDS,
    file_of,
    id_column,
    joined,
    numbered_visits,
    refuse_duplicates,
    refuse_lookalike_ids,
    refuse_rivals,
    refuse_shared_ids,
    refuse_shared_subjects,
    refuse_two_sites,
)
from braindino.datasets.generic.table import find_column, first_bad
from braindino.datasets.manifest import MASK, NOTE, Manifest, ManifestBuilder, further_column
from braindino.datasets.sequences import UNKNOWN
from braindino.errors import LayoutError, TableError
from braindino.progress import disable_bar
from braindino.scans.reading import SUFFIXES

USUAL = {
    "path": ("path", "file", "file_path", "filename", "image", "image_path", "scan", "nifti"),
    "session": ("session", "session_id", "scandate", "visit", "viscode", "timepoint"),
    "modality": ("modality", "sequence"),
    "dataset": ("dataset",),
    "site": ("site", "center", "centre"),
    "sex": ("sex", "gender"),
    "age": ("age",),
}
_AFTER_ID = re.compile(
    r"[_-](t1[a-z]*|t2[a-z]*|flair|pdw?|dwi|adc|seg|mask)(\.nii|\.nii\.gz|\.mgz)$", re.IGNORECASE
)
_log = logging.getLogger(__name__)
_UNKNOWN = "scan"  # the sequence where neither table nor file names tell it
_WHERE = "\0where"


@dataclass(frozen=True)
class Columns:
    """How a table's columns are to be understood; see `Cohort` for each."""

    path: str | dict[str, str] | None = None
    pattern: str | dict[str, str] | None = None
    scans: Path | None = None
    id: str | None = None
    group: tuple[str, ...] = ()
    person: str | None = None
    session: str | None = None
    modality: str | None = None
    sex_codes: Mapping[str, str] = field(default_factory=dict)
    drop_missing: bool = False


def scans_of_rows(
    rows: pd.DataFrame, dataset: str, folder: Path, options: Columns, origin: Path | None = None
) -> Manifest:
    """Manifest of the scans that the rows (as `read_own_table` gives them) name, each with its row's place.

    Args:
        rows: of the table.
        dataset: its name, for rows that have none of their own.
        folder: that paths are relative to.
        options: how the columns are to be understood.
        origin: see `ManifestBuilder`.

    Raises:
        TableError: a column, a path or an id is wrong; names file, line, column and remedy.
    """
    table = _Rows(rows, dataset, folder, options)
    out = ManifestBuilder(dataset, None if table.own["dataset"] else origin)
    missing: list[tuple[str, Path, str]] = []
    bar = tqdm(table.scans(), "looking for scans", len(rows), unit=" rows", disable=disable_bar())
    for where, row, found in bar:
        subject = table.subject(row, found)
        for modality, path in found:
            if not os.path.lexists(path):
                missing.append((where, path, subject))
            elif reason := unusable(path):
                out.drop(path, subject, reason)
            else:
                identity = {name: table.cell(row, name) for name in ("session", "sex", "age", "site")}
                identity["sex"], identity[NOTE] = parse_sex(identity["sex"], table.sex_codes)
                named = table.cell(row, "dataset") or dataset
                out.keep(
                    path, subject, modality, group=table.group(where, row, named, subject, path),
                    **{"dataset": named, **identity, **table.others(row), _WHERE: where},
                )  # fmt: skip
        if not found:
            out.drop("", subject, "no scan in the table")
    if missing and not options.drop_missing:
        where, path, _ = missing[0]
        more = f" ({len(missing)} scans like this)" if len(missing) > 1 else ""
        raise TableError(
            f"{where}, column {table.where_from!r}: no file {path}{more}.\nCorrect it, say where scans lie "
            "with the option `scans`, or leave such rows out with `missing_files: drop`."
        )
    for _, path, subject in missing:
        out.drop(path, subject, "no such file")
    manifest = out.build()
    if manifest.table.empty:
        raise LayoutError(
            f"{rows.index[0]}: none of {len(rows)} rows names a scan that can be used: {out.reasons()}."
        )
    manifest.table.index = pd.Index(manifest.table.pop(_WHERE))
    refuse_duplicates(manifest.table)
    table.check_files()
    return manifest


class _Rows:
    """A table whose columns were found, asked row by row."""

    def __init__(self, rows: pd.DataFrame, dataset: str, folder: Path, options: Columns) -> None:
        self.rows, self.dataset, self.options = rows, dataset, options
        self._listings: dict[Path, dict[str, list[Path]]] = {}
        self.base = (options.scans or folder).absolute()
        asked = {"session": options.session}
        self.own = {
            name: find_column(rows, asked.get(name), usual, f"the {name}")
            for name, usual in USUAL.items()
            if name not in ("path", "modality")
        }
        self.groups = [str(find_column(rows, name, (), "the group")) for name in options.group]
        self.own["id"] = self._id()
        names = USUAL["modality"] if options.modality is None else (options.modality.lower(),)
        self.modality = find_column(rows, None, names, "the modality")
        if (
            self.modality is not None
            and options.modality != self.modality
            and self._holds_files(self.modality)
        ):
            self.modality = None  # `modality: FLAIR` beside a column `flair` of files names the sequence
        self.all_are = "" if self.modality else options.modality or ""
        self.where_from = self.own["id"] or ""
        self.paths = self._paths()
        paths = () if options.pattern else tuple(self.paths)
        self.used = {*self.own.values(), *self.groups, self.modality, *paths}
        letters = letters_of(rows[self.own["sex"]]) if self.own["sex"] else {}
        self.sex_codes = letters | dict(options.sex_codes)
        self.numeric = {name for name in rows if is_numeric(rows[name])}
        self._check()
        self._check_people()

    def _holds_files(self, column: str) -> bool:
        """Return whether a cell of the column is the name of an image file."""
        return bool(self.rows[column].astype(str).str.lower().str.endswith(SUFFIXES).any())

    def scans(self) -> Iterator[tuple[str, dict[str, str], list[tuple[str, Path]]]]:
        """Place, cells, and (sequence, path) of every row."""
        records = [{str(k): str(v) for k, v in record.items()} for record in self.rows.to_dict("records")]
        found = [self._found(record) for record in records]
        named = self._names_tell(found)
        for where, record, files in zip(self.rows.index, records, found, strict=True):
            said = [(m or (modality_of(stem(path)) if named else _UNKNOWN), path) for m, path in files]
            yield str(where), record, said

    def _names_tell(self, found: list[list[tuple[str, Path]]]) -> bool:
        """Return whether file names tell the sequence: of every file, for half an answer would part cases.

        Raises:
            TableError: some names tell different sequences, and others none.
        """
        by_name = [
            (where, path, modality_of(stem(path)))
            for where, files in zip(self.rows.index, found, strict=True)
            for modality, path in files
            if not modality
        ]
        sequences = sorted({sequence for _, _, sequence in by_name} - {UNKNOWN})
        silent = [(where, path) for where, path, sequence in by_name if sequence == UNKNOWN]
        if silent and len(sequences) > 1:
            raise TableError(
                f"{silent[0][0]}: {silent[0][1].name} names no sequence ({len(silent)} files like this), "
                f"others are {', '.join(sequences)}.\n"
                "Say what each is with a column `modality`, or with a column of paths per sequence (`path`)."
            )
        return not silent

    def cell(self, row: dict[str, str], name: str) -> str:
        """A standard column's cell; an id may be any word, other cells may be gaps."""
        column = self.own[name]
        cell = "" if column is None else row[column]
        return "" if name not in ("id", "group") and is_missing(cell) else cell

    def others(self, row: dict[str, str]) -> dict[str, str]:
        """Cells of the columns that mean nothing to us: labels and whatever else there is."""
        return {
            further_column(name): "" if name in self.numeric and is_missing(cell) else cell
            for name, cell in row.items()
            if name not in self.used
        }

    def subject(self, row: dict[str, str], found: list[tuple[str, Path]]) -> str:
        """The id, else the file's path without its suffix (which is unique).

        Where the id needs another column to be a person's, it is all of `group`.
        """
        if len(self.groups) > 1 and self.own["id"] in self.groups:
            return joined([row[name] for name in self.groups])
        if self.own["id"] is not None:
            return self.cell(row, "id")
        if not found:
            return ""
        inside = Path(self._inside(found[0][1]))
        return (inside.parent / stem(inside)).as_posix().lstrip("/")

    def _inside(self, path: Path) -> str:
        """A path relative to the folder of the scans, where it lies below it."""
        return str(path.relative_to(self.base) if path.is_relative_to(self.base) else path)

    def group(self, where: str, row: dict[str, str], dataset: str, subject: str, path: Path) -> str:
        """The person, with the dataset before it."""
        if self.groups:
            person = joined([row[name] for name in self.groups])
            # A table may hold whole keys of persons, as a manifest does.
            return person if len(self.groups) == 1 and ":" in person else f"{self.dataset}:{person}"
        person = subject
        if self.options.person is not None:
            text = subject if self.own["id"] is not None else str(path)
            match = re.search(self.options.person, text)
            if match is None:
                raise TableError(
                    f"{where}: the option person, {self.options.person!r}, matches nothing in {text!r}."
                )
            person = match[1] if match.re.groups else match[0]
        return f"{dataset}:{person}"

    def _id(self) -> str | None:
        """The column of the id: the one that an option names, else one of a usual name."""
        grouped = bool(self.groups) or self.options.person is not None
        if self.options.id is None:
            return id_column(self.rows, grouped)
        column = str(find_column(self.rows, self.options.id, (), "the id"))
        if not grouped:
            refuse_rivals(self.rows, column)
        return column

    def _check_people(self) -> None:
        """Refuse a table that does not tell who is one person, where that can be seen."""
        for name in self.groups:
            cells = self.rows[name]
            first_bad(cells, cells.map(is_missing_id), "is blank; every row needs a person")
        if self.groups:
            return
        if self.own["id"] is not None and self.options.person is None:
            refuse_lookalike_ids(self.rows, self.own["id"], self.own["dataset"])
            if self.own["site"] is not None:
                refuse_two_sites(self.rows, self.own["id"], self.own["site"], self.own["session"])
            if alike := numbered_visits(list(self.rows[self.own["id"]])):
                _log.warning(
                    "%s: ids such as %s count as different people; if they are visits of one, say so with "
                    "the option `person`",
                    file_of(self.rows),
                    " and ".join(alike),
                )
        if self.own["id"] is not None and self.own["dataset"] is not None:
            refuse_shared_ids(self.rows, self.own["id"], self.own["dataset"])

    def check_files(self) -> None:
        """Refuse a table without an id whose files tell that a person has several rows; else warn."""
        if self.own["id"] is not None or self.groups or self.options.person is not None:
            return
        found = [files for _, _, files in self.scans()]
        refuse_shared_subjects(self.rows, [self._inside(files[0][1]) if files else "" for files in found])
        _log.warning(
            "%s: no column of a usual name (%s, ...) holds an id, so every row counts as one person; where a "
            "person has several rows, name the column with `id` or `group`",
            file_of(self.rows),
            ", ".join(IDS[:4]),
        )

    def _paths(self) -> dict[str, str]:
        """Column of paths (or the pattern) -> sequence, `""` where the sequence is told otherwise."""
        given = self.options.pattern or self.options.path
        if isinstance(given, dict):
            pairs = {what: modality for modality, what in given.items()}
        else:
            column = given or find_column(self.rows, None, USUAL["path"], "")
            pairs = {column: ""} if column else {}
        if self.options.pattern is None:
            pairs = {str(find_column(self.rows, c, (), "the path")): m for c, m in pairs.items()}
        if not pairs and self.own["id"] is None:
            raise TableError(
                f"{file_of(self.rows)}: neither a column of paths ({', '.join(USUAL['path'][:4])}, ...) nor "
                f"an id ({', '.join(IDS[:4])}, ...).\nName one with the option `path` or `id`; there are "
                f"{', '.join(map(repr, self.rows.columns[:12]))}."
            )
        if pairs:
            self.where_from = next(iter(pairs))
        return pairs

    def _found(self, row: dict[str, str]) -> list[tuple[str, Path]]:
        """(sequence or `""`, absolute path) of a row's scans; a blank cell of several is no scan."""
        told = row[self.modality] if self.modality else self.all_are
        told = "" if is_missing(told) else told
        if not self.paths:
            return [(told or modality, path) for modality, path in self._by_id(row)]
        cells = {what: self._filled(what, row) if self.options.pattern else row[what] for what in self.paths}
        return [
            (modality or told, Path(os.path.normpath(self.base / cells[what])))
            for what, modality in self.paths.items()
            if not is_missing(cells[what])
        ]

    def _filled(self, pattern: str, row: dict[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if self.own.get(name):
                return self.cell(row, name)
            return row[str(find_column(self.rows, name, (), f"named in the pattern {pattern!r}"))]

        return re.sub(r"\{([^{}]+)\}", value, pattern)

    def _by_id(self, row: dict[str, str]) -> list[tuple[str, Path]]:
        """BrainIAC's names: `<id>.nii.gz` or `<id>_<sequence>.nii.gz`; with a session `<id>_<session>`."""
        name, session = self.cell(row, "id"), self.cell(row, "session")
        stems = [f"{name}_{session}", f"{name}/{session}", name] if session else [name]
        for wanted in stems:
            folder = (self.base / wanted).parent
            last = Path(wanted).name
            for suffix in (".nii.gz", ".nii", ".mgz"):
                if os.path.lexists(folder / f"{last}{suffix}"):
                    return [("", folder / f"{last}{suffix}")]
            found = []
            for path in self._listing(folder).get(last, []):
                kind = stem(path)[len(last) + 1 :].lower()
                found.append((MASK if kind in ("seg", "mask") else modality_of(f"_{kind}"), path))
            if found:
                return found
        return [("", self.base / f"{stems[0]}.nii.gz")]

    def _listing(self, folder: Path) -> dict[str, list[Path]]:
        """Files of a folder that end in the name of a sequence, by what stands before it; read once."""
        if folder not in self._listings:
            names: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                match = _AFTER_ID.search(path.name)
                if match:
                    names.setdefault(path.name[: match.start()], []).append(path)
            self._listings[folder] = names
        return self._listings[folder]

    def _check(self) -> None:
        """Blank ids and paths, ages and sexes that are none, a broken regular expression."""
        if self.own["id"]:
            cells = self.rows[self.own["id"]]
            first_bad(cells, cells.map(is_missing_id), "is blank; every row needs an id")
            hidden = [cell != visible(cell) for cell in cells]
            first_bad(cells, hidden, "has a character that does not show; remove it")
            shown = pd.DataFrame({"cell": cells, "same": cells.map(same_characters)}).drop_duplicates()
            alike = cells.isin(shown["cell"][shown["same"].duplicated()])
            first_bad(cells, alike, "is written with other characters in an earlier row; write it in one way")
        if len(self.paths) == 1 and not self.options.pattern:
            cells = self.rows[next(iter(self.paths))]
            first_bad(cells, cells.map(is_missing), "is blank; every row needs a path")
        if self.own["age"]:
            cells = self.rows[self.own["age"]]
            first_bad(cells, ~cells.map(is_age).astype(bool), "must be a number of years")
        if self.own["sex"]:
            cells = self.rows[self.own["sex"]]
            bad = [not is_sex(cell, self.sex_codes) for cell in cells]
            remedy = (
                "must be F or M (female, male), or blank.\nSay what codes mean with `sex_codes: {0: M, 1: F}`"
            )
            first_bad(cells, bad, remedy)
        if self.options.person is not None:
            try:
                re.compile(self.options.person)
            except re.error as error:
                raise TableError(
                    f"data: person {self.options.person!r} is no regular expression ({error})."
                ) from None
