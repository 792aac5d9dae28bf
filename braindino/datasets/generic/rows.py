"""Find the scans of a table's rows: file, person, session and sequence of each."""

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
from braindino.datasets.generic.table import find_column, refuse_cells
from braindino.datasets.manifest import MASK, NOTE, Manifest, ManifestBuilder, further_column
from braindino.datasets.sequences import UNKNOWN, sequence_in_name
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
_UNKNOWN = "scan"  # the sequence where neither the table nor the file names give one
_WHERE = "\0where"


@dataclass(frozen=True)
class Columns:
    """Options that define the meaning of a table's columns; see `Cohort` for details.

    Attributes:
        path: column of paths, or sequence -> column.
        pattern: path composed of columns, or sequence -> path.
        scans: folder that paths are relative to.
        id: column of the case or person.
        group: columns that identify a person together.
        person: regular expression that matches the person in the id or path.
        session: column of the session.
        modality: column of the sequence, or the sequence of all scans.
        sex_codes: code -> meaning in the column of the sex.
        drop_missing: whether rows whose file does not exist are dropped; otherwise they are an error.
    """

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
    """Return the manifest of the scans in a table's rows, indexed by the place of each row.

    Args:
        rows: the table, by `read_user_table`.
        dataset: name of the dataset, for rows without one.
        folder: folder that paths are relative to.
        options: the meaning of the columns.
        origin: see `ManifestBuilder`.

    Raises:
        TableError: a column, a path or an id is wrong; the message has file, line, column and remedy.
        LayoutError: no row has a scan that can be used.
    """
    table = _Rows(rows, dataset, folder, options)
    out = ManifestBuilder(dataset, None if table.standard["dataset"] else origin)
    missing: list[tuple[str, Path, str]] = []
    bar = tqdm(table.scans(), "looking for scans", len(rows), unit=" rows", disable=disable_bar())
    for where, row, scans in bar:
        subject = table.subject(row, scans)
        for modality, path in scans:
            if not os.path.lexists(path):
                missing.append((where, path, subject))
            elif reason := unusable(path):
                out.drop(path, subject, reason)
            else:
                columns = {name: table.cell(row, name) for name in ("session", "sex", "age", "site")}
                columns["sex"], columns[NOTE] = parse_sex(columns["sex"], table.sex_codes)
                columns["dataset"] = table.cell(row, "dataset") or dataset
                group = table.group(where, row, columns["dataset"], subject, path)
                columns |= table.further(row)
                out.keep(path, subject, modality, group=group, **columns, **{_WHERE: where})
        if not scans:
            out.drop("", subject, "no scan in the table")
    if missing and not options.drop_missing:
        where, path, _ = missing[0]
        more = f" ({len(missing)} scans like this)" if len(missing) > 1 else ""
        raise TableError(
            f"{where}, column {table.path_source!r}: no file {path}{more}.\nCorrect it, give the folder of "
            "the scans with the option `scans`, or drop such rows with `missing_files: drop`."
        )
    for _, path, subject in missing:
        out.drop(path, subject, "no such file")
    manifest = out.build()
    if manifest.table.empty:
        raise LayoutError(
            f"{rows.index[0]}: none of {len(rows)} rows has a scan that can be used: {out.reasons()}."
        )
    manifest.table.index = pd.Index(manifest.table.pop(_WHERE))
    refuse_duplicates(manifest.table)
    table.check_files()
    return manifest


class _Rows:
    """A table with the columns that have a standard meaning.

    Attributes:
        rows: the table.
        dataset: name of the dataset.
        options: the meaning of the columns.
        base: folder that paths are relative to.
        standard: standard name -> column, or None.
        groups: columns that identify a person together.
        modality: column of the sequence, or None.
        common_sequence: the sequence of all scans, or `""`.
        path_source: column that gives the paths, for messages.
        paths: column of paths, or pattern -> sequence, or `""` where the sequence is given differently.
        used: columns that are not copied to the manifest.
        sex_codes: code -> meaning in the column of the sex.
        numeric: columns of numbers.
    """

    def __init__(self, rows: pd.DataFrame, dataset: str, folder: Path, options: Columns) -> None:
        self.rows, self.dataset, self.options = rows, dataset, options
        self._listings: dict[Path, dict[str, list[Path]]] = {}
        self.base = (options.scans or folder).absolute()
        given = {"session": options.session}
        self.standard = {
            name: find_column(rows, given.get(name), usual, f"the {name}")
            for name, usual in USUAL.items()
            if name not in ("path", "modality")
        }
        self.groups = [str(find_column(rows, name, (), "the group")) for name in options.group]
        self.standard["id"] = self._id()
        names = USUAL["modality"] if options.modality is None else (options.modality.lower(),)
        self.modality = find_column(rows, None, names, "the modality")
        if (
            self.modality is not None
            and options.modality != self.modality
            and self._holds_files(self.modality)
        ):
            # With a column `flair` of files, `modality: FLAIR` is the sequence of all scans.
            self.modality = None
        self.common_sequence = "" if self.modality else options.modality or ""
        self.path_source = self.standard["id"] or ""
        self.paths = self._paths()
        paths = () if options.pattern else tuple(self.paths)
        self.used = {*self.standard.values(), *self.groups, self.modality, *paths}
        letters = letters_of(rows[self.standard["sex"]]) if self.standard["sex"] else {}
        self.sex_codes = letters | dict(options.sex_codes)
        self.numeric = {name for name in rows if is_numeric(rows[name])}
        self._check()
        self._check_people()

    def _holds_files(self, column: str) -> bool:
        """Return True if a cell of the column is the name of an image file."""
        return bool(self.rows[column].astype(str).str.lower().str.endswith(SUFFIXES).any())

    def scans(self) -> Iterator[tuple[str, dict[str, str], list[tuple[str, Path]]]]:
        """Yield place, cells, and (sequence, path) of the scans of every row."""
        records = [{str(k): str(v) for k, v in record.items()} for record in self.rows.to_dict("records")]
        files_of_rows = [self._files(record) for record in records]
        by_name = self._names_have_sequences(files_of_rows)
        for where, record, files in zip(self.rows.index, records, files_of_rows, strict=True):
            scans = []
            for modality, path in files:
                recognised = sequence_in_name(stem(path)) if by_name else _UNKNOWN
                scans.append((modality or recognised, path))
            yield str(where), record, scans

    def _names_have_sequences(self, files_of_rows: list[list[tuple[str, Path]]]) -> bool:
        """Return True if every file name has a sequence; using only some would split cases.

        Raises:
            TableError: some names have different sequences, and others none.
        """
        by_name = [
            (where, path, sequence_in_name(stem(path)))
            for where, files in zip(self.rows.index, files_of_rows, strict=True)
            for modality, path in files
            if not modality
        ]
        sequences = sorted({sequence for _, _, sequence in by_name} - {UNKNOWN})
        unnamed = [(where, path) for where, path, sequence in by_name if sequence == UNKNOWN]
        if unnamed and len(sequences) > 1:
            place, file = unnamed[0]
            raise TableError(
                f"{place}: {file.name} has no sequence in its name ({len(unnamed)} files like this), "
                f"others are {', '.join(sequences)}.\n"
                "Give the sequence by a column `modality`, or by a column of paths per sequence (`path`)."
            )
        return not unnamed

    def cell(self, row: dict[str, str], name: str) -> str:
        """Return a standard column's cell, blank where it is missing; an id may be any word."""
        column = self.standard[name]
        cell = "" if column is None else row[column]
        return "" if name not in ("id", "group") and is_missing(cell) else cell

    def further(self, row: dict[str, str]) -> dict[str, str]:
        """Return the cells of all columns without a standard meaning, labels included."""
        return {
            further_column(name): "" if name in self.numeric and is_missing(cell) else cell
            for name, cell in row.items()
            if name not in self.used
        }

    def subject(self, row: dict[str, str], scans: list[tuple[str, Path]]) -> str:
        """Return the id, else the first file's path without its suffix (which is unique).

        If the id identifies a person only together with other columns, all of `group` is returned.
        """
        if len(self.groups) > 1 and self.standard["id"] in self.groups:
            return joined([row[name] for name in self.groups])
        if self.standard["id"] is not None:
            return self.cell(row, "id")
        if not scans:
            return ""
        inside = Path(self._inside(scans[0][1]))
        return (inside.parent / stem(inside)).as_posix().lstrip("/")

    def _inside(self, path: Path) -> str:
        """Return a path relative to the folder of the scans, if it is below it."""
        return str(path.relative_to(self.base) if path.is_relative_to(self.base) else path)

    def group(self, where: str, row: dict[str, str], dataset: str, subject: str, path: Path) -> str:
        """Return the key of the person, `<dataset>:<person>`.

        Args:
            where: place of the row, for messages.
            row: cells of the row, by column.
            dataset: dataset of the row.
            subject: subject of the row.
            path: file of a scan.
        """
        if self.groups:
            person = joined([row[name] for name in self.groups])
            # A table may contain complete keys of persons, as a manifest does.
            return person if len(self.groups) == 1 and ":" in person else f"{self.dataset}:{person}"
        person = subject
        if self.options.person is not None:
            text = subject if self.standard["id"] is not None else str(path)
            match = re.search(self.options.person, text)
            if match is None:
                raise TableError(
                    f"{where}: the option person, {self.options.person!r}, matches nothing in {text!r}."
                )
            person = match[1] if match.re.groups else match[0]
        return f"{dataset}:{person}"

    def _id(self) -> str | None:
        """Return the column of the id: that of the option, else one of a usual name, or None."""
        grouped = bool(self.groups) or self.options.person is not None
        if self.options.id is None:
            return id_column(self.rows, grouped)
        column = str(find_column(self.rows, self.options.id, (), "the id"))
        if not grouped:
            refuse_rivals(self.rows, column)
        return column

    def _check_people(self) -> None:
        """Raise TableError for a table in which persons are ambiguous, as far as the ids show."""
        for name in self.groups:
            cells = self.rows[name]
            refuse_cells(cells, cells.map(is_missing_id), "is blank; every row needs a person")
        if self.groups:
            return
        if self.standard["id"] is not None and self.options.person is None:
            refuse_lookalike_ids(self.rows, self.standard["id"], self.standard["dataset"])
            if self.standard["site"] is not None:
                refuse_two_sites(
                    self.rows, self.standard["id"], self.standard["site"], self.standard["session"]
                )
            if alike := numbered_visits(list(self.rows[self.standard["id"]])):
                _log.warning(
                    "%s: ids such as %s count as different people; if they are visits of one, define "
                    "the persons with the option `person`",
                    file_of(self.rows),
                    " and ".join(alike),
                )
        if self.standard["id"] is not None and self.standard["dataset"] is not None:
            refuse_shared_ids(self.rows, self.standard["id"], self.standard["dataset"])

    def check_files(self) -> None:
        """Raise TableError, or warn, for a table without ids in which persons may have several rows."""
        if self.standard["id"] is not None or self.groups or self.options.person is not None:
            return
        first_files = [self._inside(files[0][1]) if files else "" for _, _, files in self.scans()]
        refuse_shared_subjects(self.rows, first_files)
        _log.warning(
            "%s: no column of a usual name (%s, ...) has ids, so every row counts as one person; if a person "
            "has several rows, name the column with `id` or `group`",
            file_of(self.rows),
            ", ".join(IDS[:4]),
        )

    def _paths(self) -> dict[str, str]:
        """Return column of paths (or pattern) -> sequence, `""` where that is given differently."""
        given = self.options.pattern or self.options.path
        if isinstance(given, dict):
            pairs = {what: modality for modality, what in given.items()}
        else:
            column = given or find_column(self.rows, None, USUAL["path"], "")
            pairs = {column: ""} if column else {}
        if self.options.pattern is None:
            pairs = {str(find_column(self.rows, c, (), "the path")): m for c, m in pairs.items()}
        if not pairs and self.standard["id"] is None:
            raise TableError(
                f"{file_of(self.rows)}: neither a column of paths ({', '.join(USUAL['path'][:4])}, ...) nor "
                f"an id ({', '.join(IDS[:4])}, ...).\nName one with the option `path` or `id`; there are "
                f"{', '.join(map(repr, self.rows.columns[:12]))}."
            )
        if pairs:
            self.path_source = next(iter(pairs))
        return pairs

    def _files(self, row: dict[str, str]) -> list[tuple[str, Path]]:
        """Return (sequence or `""`, absolute path) of a row's scans; blank cells are no scans."""
        given = row[self.modality] if self.modality else self.common_sequence
        given = "" if is_missing(given) else given
        if not self.paths:
            return [(given or modality, path) for modality, path in self._by_id(row)]
        cells = {what: self._filled(what, row) if self.options.pattern else row[what] for what in self.paths}
        return [
            (modality or given, Path(os.path.normpath(self.base / cells[what])))
            for what, modality in self.paths.items()
            if not is_missing(cells[what])
        ]

    def _filled(self, pattern: str, row: dict[str, str]) -> str:
        """Return a pattern with the cells of a row in place of `{column}`."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if self.standard.get(name):
                return self.cell(row, name)
            return row[str(find_column(self.rows, name, (), f"named in the pattern {pattern!r}"))]

        return re.sub(r"\{([^{}]+)\}", value, pattern)

    def _by_id(self, row: dict[str, str]) -> list[tuple[str, Path]]:
        """Return (sequence or `""`, path) of files named as in BrainIAC's lists.

        Names are `<id>.nii.gz` or `<id>_<sequence>.nii.gz`, with a session `<id>_<session>` for `<id>`.
        """
        name, session = self.cell(row, "id"), self.cell(row, "session")
        stems = [f"{name}_{session}", f"{name}/{session}", name] if session else [name]
        for wanted in stems:
            folder = (self.base / wanted).parent
            last = Path(wanted).name
            for suffix in (".nii.gz", ".nii", ".mgz"):
                if os.path.lexists(folder / f"{last}{suffix}"):
                    return [("", folder / f"{last}{suffix}")]
            files = []
            for path in self._listing(folder).get(last, []):
                kind = stem(path)[len(last) + 1 :].lower()
                files.append((MASK if kind in ("seg", "mask") else sequence_in_name(f"_{kind}"), path))
            if files:
                return files
        return [("", self.base / f"{stems[0]}.nii.gz")]

    def _listing(self, folder: Path) -> dict[str, list[Path]]:
        """Return name without sequence -> files, for files of a folder that end in a sequence."""
        if folder not in self._listings:
            names: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                match = _AFTER_ID.search(path.name)
                if match:
                    names.setdefault(path.name[: match.start()], []).append(path)
            self._listings[folder] = names
        return self._listings[folder]

    def _check(self) -> None:
        """Raise TableError for blank ids or paths, wrong ages or sexes, a wrong expression."""
        if self.standard["id"]:
            cells = self.rows[self.standard["id"]]
            refuse_cells(cells, cells.map(is_missing_id), "is blank; every row needs an id")
            hidden = [cell != visible(cell) for cell in cells]
            refuse_cells(cells, hidden, "has an invisible character; remove it")
            shown = pd.DataFrame({"cell": cells, "same": cells.map(same_characters)}).drop_duplicates()
            alike = cells.isin(shown["cell"][shown["same"].duplicated()])
            refuse_cells(cells, alike, "is spelled with other characters in an earlier row; use one spelling")
        if len(self.paths) == 1 and not self.options.pattern:
            cells = self.rows[next(iter(self.paths))]
            refuse_cells(cells, cells.map(is_missing), "is blank; every row needs a path")
        if self.standard["age"]:
            cells = self.rows[self.standard["age"]]
            refuse_cells(cells, ~cells.map(is_age).astype(bool), "must be a number of years")
        if self.standard["sex"]:
            cells = self.rows[self.standard["sex"]]
            bad = [not is_sex(cell, self.sex_codes) for cell in cells]
            remedy = "must be F or M (female, male), or blank.\nDefine codes with `sex_codes: {0: M, 1: F}`"
            refuse_cells(cells, bad, remedy)
        if self.options.person is not None:
            try:
                re.compile(self.options.person)
            except re.error as error:
                raise TableError(
                    f"data: person {self.options.person!r} is no regular expression ({error})."
                ) from None
