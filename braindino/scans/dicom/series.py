"""Convert DICOM series to NIfTI by dcm2niix, one volume per series, with a table."""

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.csv_text import csv_text
from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.progress import track
from braindino.scans.dicom.dcm2niix import (
    facts_of,
    failure_line,
    lines_beside_banner,
    uneven_volumes,
    warning_lines,
)
from braindino.scans.dicom.headers import (
    PatientDigests,
    Slice,
    is_dicom,
    known_patient,
    read_slice,
    without_copies,
)
from braindino.scans.dicom.volumes import choose_volume, content_of
from braindino.scans.store.ledger import LedgerWriter, Record, clock_lag, read_ledger

__all__ = ["Series", "convert_series", "find_converter", "is_dicom"]

TABLE = "series.csv"
NO_IMAGE = "no image that dcm2niix can convert"
NO_PATIENT = "no PatientID: the person is the folder's"
SEVERAL = "its PatientID has several sexes and dates of birth: the person is the folder's"
TIMEOUT_S = 1800  # a folder of thousands of slices takes a minute
_FORMAT = 3  # of the records: series converted by an older version are converted again


@dataclass(frozen=True)
class Series:
    """Describe one series of one patient in a folder: a row of `series.csv`.

    Attributes:
        source: folder, absolute.
        series: SeriesInstanceUID.
        number: SeriesNumber.
        description: SeriesDescription, or ProtocolName.
        patient: digest of PatientID and issuer under the key in `patient.key`, or "" if no id distinguishes
            people.
        output: the volume, relative to the folder of the table, or "".
        message: warnings of dcm2niix, and parts of the series that were excluded.
        reason: why there is no volume, or "".
        content: digest of the volume's voxels, or "".
    """

    source: str
    series: str
    number: str
    description: str
    patient: str
    output: str
    message: str
    reason: str
    content: str = ""


@dataclass(frozen=True)
class _Job:
    """Describe a call of dcm2niix for the slices of one patient's series, or for a whole folder.

    Attributes:
        folder: folder of the DICOM files.
        out: folder of the table.
        inside: folder of the volumes, relative to `out`.
        slices: slices to convert; empty for all files of the folder.
        note: message about the series.
    """

    folder: Path
    out: Path
    inside: Path
    slices: tuple[Slice, ...] = ()
    note: str = ""


def find_converter() -> str:
    """Return the path of dcm2niix: on the PATH, else of the package `dcm2niix`.

    Raises:
        BraindinoError: neither exists.
    """
    converter = shutil.which("dcm2niix")
    if converter is None and find_spec("dcm2niix") is not None:
        import dcm2niix

        converter = str(dcm2niix.bin)
    if converter is None:
        raise BraindinoError(
            "the folder has DICOM series, and dcm2niix, which converts them, is not installed.\n"
            "Install it with `pip install 'braindino[dicom]'`; `braindino index` excludes them with "
            "`--options.dicom null`."
        )
    return converter


def convert_series(folders: Sequence[Path], root: Path, out: Path, progress: bool = True) -> list[Series]:
    """Convert the series directly in each of `folders` into `out`, and write `out/series.csv`.

    The slices of a folder are separated by patient and series before dcm2niix reads them, and duplicated
    slices are used once. A volume has the same place in `out` as its folder in `root`, and is named by
    description, number and a digest of patient and series. If a series has several volumes, the largest
    magnitude image is used, never a phase image (`choose_volume`). A volume that exists in two folders is
    used once. Series that were converted and have not changed are not converted again; the conversion may be
    interrupted.

    Args:
        folders: folders with DICOM files.
        root: folder that contains them all.
        out: folder of the volumes and the table.
        progress: False shows no progress.

    Returns:
        One row per series, in the order of the table.

    Raises:
        BraindinoError: dcm2niix or pydicom is not installed.
    """
    converter = find_converter()
    # A killed conversion leaves a folder with the JSON of dcm2niix, which identifies the patient.
    for left in out.rglob(".running-*"):
        if time.time() - left.stat().st_mtime > 2 * TIMEOUT_S:
            shutil.rmtree(left)
    digests = PatientDigests(out)
    ledger = out / "ledger"
    known = read_ledger(ledger)
    writer = LedgerWriter(ledger, clock_lag(known))
    records: list[Record] = []
    try:
        for folder in track(sorted(folders), len(folders), "convert DICOM", progress, unit="folder"):
            stamp = [_FORMAT, digests.name, *_stamp(folder)]
            record = known.get(str(folder.absolute()))
            if record is None or record["stamp"] != stamp or not _is_complete(record, out):
                rows = list(_convert_folder(converter, folder, root, out, digests))
                record = {
                    "path": str(folder.absolute()),
                    "stamp": stamp,
                    "series": [asdict(row) for row, _ in rows],
                    "traits": [traits for _, traits in rows],
                }
                writer.append(record)
            records.append(record)
    finally:
        writer.close()
    series = list(_without_duplicates(_without_shared_ids(records)))
    with atomic_write(out / TABLE) as file:
        columns = [column.name for column in fields(Series)]
        # Names of folders may not be UTF-8, series.csv is.
        lines = [{name: _printable(cell) for name, cell in asdict(row).items()} for row in series]
        file.write(csv_text(pd.DataFrame(lines, columns=columns, dtype=object)))
    return series


def _convert_folder(
    converter: str, folder: Path, root: Path, out: Path, digests: PatientDigests
) -> Iterator[tuple[Series, list[str]]]:
    """Yield the rows of a folder, each with digests of its patient's traits and `lookalike`."""
    inside = Path(_printable(str(folder.relative_to(root))))
    files = [path for path in sorted(folder.absolute().iterdir()) if is_dicom(path)]
    headers = [header for path in files if (header := read_slice(path)) is not None]
    if not headers:
        for row in _convert(converter, _Job(folder.absolute(), out, inside), digests):
            yield row, ["", "", ""]
        return
    groups: dict[tuple[Any, ...], list[Slice]] = defaultdict(list)
    for header in headers:
        groups[header.patient, header.series].append(header)
    for (patient, uid), slices in groups.items():
        images = [one for one in slices if one.is_image]
        if not images:
            kinds = " ".join(sorted({one.modality for one in slices} - {""}))
            row = _refused(folder.absolute(), f"{NO_IMAGE}{f' (of kind {kinds})' if kinds else ''}")
            yield replace(row, series=uid, patient=digests.of_patient(patient)), ["", "", ""]
            continue
        if all(one.unwanted for one in images):
            row = _refused(folder.absolute(), images[0].unwanted)
            yield replace(row, series=uid, patient=digests.of_patient(patient)), ["", "", ""]
            continue
        once, copies = without_copies([one for one in images if not one.unwanted])
        note = f"{copies} slices sent twice (same place, same pixels), each taken once" if copies else ""
        traits = [digests.of(name) if name else "" for name in _shared_traits(images)]
        job = _Job(folder.absolute(), out, inside, tuple(once), note)
        for row in _convert(converter, job, digests):
            yield row, traits
    if unread := len(files) - len(headers):
        yield (
            _refused(folder.absolute(), f"{unread} files with DICOM's name or mark but no header"),
            ["", "", ""],
        )


def _shared_traits(slices: Sequence[Slice]) -> tuple[str, str, str]:
    """Return sex, date of birth and `lookalike` of a patient, "" where slices disagree."""
    sexes, births = ({one.traits[k] for one in slices} - {""} for k in range(2))
    alike = {one.lookalike for one in slices}
    return (
        sexes.pop() if len(sexes) == 1 else "",
        births.pop() if len(births) == 1 else "",
        alike.pop() if len(alike) == 1 else "",
    )


def _convert(converter: str, job: _Job, digests: PatientDigests) -> list[Series]:
    place = job.out / job.inside
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".running-") as name:
        made = Path(name, "volumes")
        made.mkdir()
        source = _stage(job, Path(name, "slices"))
        # No subfolders; a JSON beside each volume; volumes named by the series.
        options = ["-b", "y", "-ba", "n", "-z", "y", "-d", "0", "-f", "%j", "-o", str(made)]
        try:
            done = subprocess.run(
                [converter, *options, str(source)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return [_refused(job.folder, f"dcm2niix took more than {TIMEOUT_S} s")]
        except OSError as error:
            raise BraindinoError(f"{converter}: could not be started ({error.strerror}).") from None
        volumes = sorted(made.glob("*.nii.gz"))
        if not volumes:
            is_silent = done.returncode >= 0 and not lines_beside_banner(done)
            reason = NO_IMAGE if is_silent else f"dcm2niix made no volume: {failure_line(done)}"
            row = _refused(job.folder, reason)
            return [replace(row, series=job.slices[0].series) if job.slices else row]
        by_series: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
        for volume in volumes:
            facts = facts_of(volume)
            uid = facts.get("SeriesInstanceUID") or volume.name.removesuffix(".nii.gz")
            # For Siemens XA, dcm2niix writes the time of the series as its UID.
            by_series.setdefault(job.slices[0].series if job.slices else uid, []).append((volume, facts))
        return [_row(job, uid, candidates, done, digests) for uid, candidates in by_series.items()]


def _row(
    job: _Job,
    uid: str,
    candidates: list[tuple[Path, dict[str, Any]]],
    done: "subprocess.CompletedProcess[str]",
    digests: PatientDigests,
) -> Series:
    """Choose the volume of a series, move it to its place, and return its row."""
    volume, facts, note, reason = choose_volume(candidates)
    patient = job.slices[0].patient if job.slices else known_patient(str(facts.get("PatientID") or ""))
    messages = [*dict.fromkeys(warning_lines(done)), job.note, note, "" if patient else NO_PATIENT]
    row = Series(
        source=str(job.folder),
        series=uid,
        number=str(facts.get("SeriesNumber", "")),
        description=str(facts.get("SeriesDescription") or facts.get("ProtocolName") or ""),
        patient=digests.of_patient(patient),
        output="",
        message="; ".join(filter(None, messages)),
        reason="",
    )
    if volume.name in uneven_volumes(done):
        return replace(row, reason="slices are missing or unevenly spaced")
    if not facts:
        return replace(row, reason=f"dcm2niix did not finish it: {failure_line(done)}")
    if reason:
        return replace(row, reason=reason)
    target = job.inside / f"{_name(row)}.nii.gz"
    content = content_of(volume)
    volume.replace(job.out / target)
    return replace(row, output=target.as_posix(), content=content)


def _stage(job: _Job, folder: Path) -> Path:
    """Return a folder with only the slices of a job, as links if the file system supports them."""
    if not job.slices:
        return job.folder
    folder.mkdir()
    for number, one in enumerate(job.slices):
        link = folder / f"{number:06}.dcm"
        try:
            link.symlink_to(one.path)
        except OSError:
            shutil.copyfile(one.path, link)
    return folder


def _name(row: Series) -> str:
    """Return the name of a volume from its description, number, and a digest of the rest."""
    words, number = (re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") for text in (row.description, row.number))
    digest = hashlib.sha256(f"{row.patient}:{row.series}".encode()).hexdigest()[:8]
    return "_".join(filter(None, [words or "series", number, digest]))


def _without_shared_ids(records: Sequence[Record]) -> Iterator[Series]:
    """Yield all rows, without the patient where one PatientID belongs to several people.

    A single wrong entry does not count: sex and date of birth must both differ, or sex with the date removed,
    or there must be more than two dates. Ids that differ in leading zeros and share a date of birth are of
    one patient.
    """
    first: dict[str, str] = {}
    for record in records:
        for row, (_, _, alike) in zip(record["series"], record["traits"], strict=True):
            row["patient"] = first.setdefault(alike, row["patient"]) if alike else row["patient"]
    sexes: dict[str, set[str]] = defaultdict(set)
    births: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for row, (sex, birth, _) in zip(record["series"], record["traits"], strict=True):
            sexes[row["patient"]] |= {sex} - {""}
            births[row["patient"]] |= {birth} - {""}
    for record in records:
        for values in record["series"]:
            row = Series(**values)
            dates = len(births[row.patient])
            if row.patient and ((len(sexes[row.patient]) > 1 and dates != 1) or dates > 2):
                row = replace(row, patient="", message="; ".join(filter(None, [row.message, SEVERAL])))
            yield row


def _without_duplicates(series: Iterable[Series]) -> Iterator[Series]:
    """Yield all rows; a volume of one or an unknown patient in two folders counts once."""
    first: dict[str, list[Series]] = defaultdict(list)
    for row in series:
        same = [
            one
            for one in first[row.content]
            if (one.patient in ("", row.patient) or not row.patient)
            and (one.series == row.series or one.description == row.description)
        ]
        if row.output and row.content and same:
            yield replace(row, output="", reason=f"the same series as in {same[0].source}")
            continue
        if row.output:
            first[row.content].append(row)
        yield row


def _is_complete(record: Record, out: Path) -> bool:
    """Return whether all volumes still exist and dcm2niix did not fail."""
    return all(
        (out / row["output"]).is_file() if row["output"] else not row["reason"].startswith("dcm2niix")
        for row in record["series"]
    )


def _stamp(folder: Path) -> list[int]:
    """Return number, bytes, latest changes and inodes of a folder's files."""
    stats = [entry.stat() for entry in folder.iterdir() if entry.is_file()]
    changes = (max((getattr(s, name) for s in stats), default=0) for name in ("st_mtime_ns", "st_ctime_ns"))
    return [len(stats), sum(s.st_size for s in stats), *changes, sum(s.st_ino for s in stats)]


def _printable(text: str) -> str:
    """Return text with the bytes that are not UTF-8 as %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)


def _refused(folder: Path, reason: str) -> Series:
    return Series(str(folder), "", "", "", "", "", "", reason)
