"""DICOM series as NIfTI files by dcm2niix: one volume per series, with a table of what came from where."""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.csv_text import csv_text
from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.scans.ledger import LedgerWriter, Record, read_ledger
from braindino.scans.progress import track

TABLE = "series.csv"
NO_IMAGE = "no image that dcm2niix can convert"
TIMEOUT_S = 1800  # a folder of thousands of slices takes a minute
_SUFFIX = re.compile(r"\.(dcm|ima)$", re.IGNORECASE)
_CORRECTED = re.compile(
    r"(_(Eq|Tilt)(_\d+)?)+(?=\.nii\.gz$)"
)  # uneven slices, or a tilted gantry, made straight
_CONVERTED = re.compile(r"Convert \d+ DICOM as (.*) \(\d")
_BANNER = re.compile(r"dcm2nii\w* version", re.IGNORECASE)


@dataclass(frozen=True)
class Series:
    """One series of a folder: a row of `series.csv`. Without an output, `reason` says why."""

    source: str  # folder, absolute
    series: str  # SeriesInstanceUID
    number: str
    description: str
    patient: str  # digest of PatientID: tells people apart, not who they are
    output: str  # the volume, relative to the folder of the table, or ""
    message: str  # warnings of dcm2niix
    reason: str  # why there is no volume, or ""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix or by the mark after its preamble. DICOMDIR is no image."""
    if path.name.upper() == "DICOMDIR":
        return False
    if _SUFFIX.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def find_converter() -> str:
    """dcm2niix on the PATH, else of the package `dcm2niix`. Raises BraindinoError when there is neither."""
    found = shutil.which("dcm2niix")
    if found is None and find_spec("dcm2niix") is not None:
        import dcm2niix

        found = str(dcm2niix.bin)
    if found is None:
        raise BraindinoError(
            "there are DICOM series, and no dcm2niix to convert them.\nInstall it with "
            "`pip install 'braindino[dicom]'`; `braindino index` leaves them out with `--options.dicom null`."
        )
    return found


def convert_series(folders: Sequence[Path], root: Path, out: Path, progress: bool = True) -> list[Series]:
    """Convert the series in each of `folders` (not below them) into `out`, and write `out/series.csv`.

    A volume lies in `out` as its folder does in `root`, named by description, number and a digest of the
    series. Of several volumes of a series (echoes, phases) the one with most bytes is taken; where slices are
    missing, the one that dcm2niix has interpolated to even distances. What was converted and has not changed
    is not converted again; interrupting it is safe.

    Raises:
        BraindinoError: there is no dcm2niix.
    """
    converter = find_converter()
    for left in out.rglob(".running-*"):  # by a kill, with what dcm2niix tells of the patient
        if time.time() - left.stat().st_mtime > 2 * TIMEOUT_S:
            shutil.rmtree(left)
    ledger = out / "ledger"
    known = read_ledger(ledger)
    writer = LedgerWriter(ledger)
    records: list[Record] = []
    try:
        for folder in track(sorted(folders), len(folders), "convert DICOM", progress):
            stamp = _stamp(folder)
            record = known.get(str(folder.absolute()))
            if record is None or record["stamp"] != stamp or not _is_there(record, out):
                found = _convert(converter, folder.absolute(), out, folder.relative_to(root))
                record = {
                    "path": str(folder.absolute()),
                    "stamp": stamp,
                    "series": [asdict(s) for s in found],
                }
                writer.append(record)
            records.append(record)
    finally:
        writer.close()
    series = list(_once(Series(**row) for record in records for row in record["series"]))
    with atomic_write(out / TABLE) as file:
        columns = [column.name for column in fields(Series)]
        file.write(csv_text(pd.DataFrame([asdict(row) for row in series], columns=columns, dtype=object)))
    return series


def _convert(converter: str, folder: Path, out: Path, inside: Path) -> list[Series]:
    (out / inside).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out / inside, prefix=".running-") as name:
        made = Path(name)
        # Every slice in this folder only; a JSON beside each volume, named by the series and what varies.
        options = ["-b", "y", "-ba", "n", "-z", "y", "-d", "0", "-f", "%j", "-o", str(made)]
        try:
            done = subprocess.run(
                [converter, *options, str(folder)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return [_refused(folder, f"dcm2niix took more than {TIMEOUT_S} s")]
        except OSError as error:
            raise BraindinoError(f"{converter}: could not be started ({error.strerror}).") from None
        volumes = sorted(made.glob("*.nii.gz"))
        if not volumes:
            nothing_told = done.returncode >= 0 and not _beside_banner(done)
            reason = NO_IMAGE if nothing_told else f"dcm2niix made no volume: {_last_word(done)}"
            return [_refused(folder, reason)]
        said = "; ".join(dict.fromkeys(_warnings(done)))
        uneven = _uneven(done)
        by_series: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
        for volume in volumes:
            facts = _facts(volume)
            uid = facts.get("SeriesInstanceUID") or volume.name.removesuffix(".nii.gz")
            by_series.setdefault(uid, []).append((volume, facts))
        found = []
        for uid, candidates in by_series.items():
            volume, facts = max(
                candidates, key=lambda pair: (bool(_CORRECTED.search(pair[0].name)), pair[0].stat().st_size)
            )
            row = _row(folder, uid, facts, said)
            if volume.name in uneven:
                found.append(replace(row, reason="slices are missing or unevenly spaced"))
                continue
            if not facts:
                found.append(replace(row, reason=f"dcm2niix did not finish it: {_last_word(done)}"))
                continue
            if len(candidates) > 1:
                note = f"{len(candidates)} volumes in the series, the largest taken"
                row = replace(row, message="; ".join(filter(None, [row.message, note])))
            target = inside / f"{_name(row)}.nii.gz"
            volume.replace(out / target)
            found.append(replace(row, output=target.as_posix()))
        return found


def _row(folder: Path, uid: str, facts: dict[str, Any], said: str) -> Series:
    patient = str(facts.get("PatientID") or "")
    return Series(
        source=str(folder),
        series=uid,
        number=str(facts.get("SeriesNumber", "")),
        description=str(facts.get("SeriesDescription") or facts.get("ProtocolName") or ""),
        patient=hashlib.sha256(patient.encode()).hexdigest()[:12] if patient else "",
        output="",
        message=said,
        reason="",
    )


def _name(row: Series) -> str:
    """File name of a volume: letters, digits and dashes of the description, number, digest of the series."""
    words, number = (re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") for text in (row.description, row.number))
    digest = hashlib.sha256(row.series.encode()).hexdigest()[:8]
    return "_".join(filter(None, [words or "series", number, digest]))


def _once(series: Iterable[Series]) -> Iterable[Series]:
    """A series that lies in two folders counts once."""
    first: dict[str, str] = {}
    for row in series:
        if row.output and row.series in first:
            yield replace(row, output="", reason=f"the same series as in {first[row.series]}")
        else:
            if row.output:
                first[row.series] = row.source
            yield row


def _is_there(record: Record, out: Path) -> bool:
    """Whether everything was converted and still lies there; failures are tried again."""
    return all(row["output"] and (out / row["output"]).is_file() for row in record["series"])


def _stamp(folder: Path) -> list[int]:
    """Number, bytes and latest change of a folder's files."""
    found = [entry.stat() for entry in folder.iterdir() if entry.is_file()]
    return [len(found), sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0)]


def _facts(volume: Path) -> dict[str, Any]:
    """What dcm2niix tells of a volume, or nothing: it writes that last, and only beside the uncorrected."""
    file = volume.with_name(_CORRECTED.sub("", volume.name).removesuffix(".nii.gz") + ".json")
    try:
        content = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refused(folder: Path, reason: str) -> Series:
    return Series(str(folder), "", "", "", "", "", "", reason)


def _lines(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """What dcm2niix said; its error stream first, which but sums up."""
    return [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]


def _warnings(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line for line in _lines(done) if re.match(r"(error|warning|unable)", line, re.IGNORECASE)]


def _beside_banner(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line for line in _lines(done) if not _BANNER.search(line)]


def _last_word(done: "subprocess.CompletedProcess[str]") -> str:
    """The line that tells what went wrong: the last error or warning, else the last line."""
    return (_warnings(done) or _beside_banner(done) or [f"exit code {done.returncode}"])[-1]


def _uneven(done: "subprocess.CompletedProcess[str]") -> set[str]:
    """Names of the volumes that NIfTI cannot hold: dcm2niix warns just before it tells the name."""
    names, warned = set(), False
    for line in done.stdout.splitlines():
        if "Interslice distance varies" in line:
            warned = True
        elif match := _CONVERTED.match(line.strip()):
            if warned:
                names.add(f"{Path(match[1]).name}.nii.gz")
            warned = False
    return names
