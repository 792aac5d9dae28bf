"""Parse the output of dcm2niix: a JSON beside each volume, and printed warnings and errors."""

import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from braindino.scans.dicom.volumes import CORRECTED

_CONVERTED = re.compile(r"Convert \d+ DICOM as (.*) \(\d")
_BANNER = re.compile(r"dcm2nii\w* version", re.IGNORECASE)


def facts_of(volume: Path) -> dict[str, Any]:
    """Return the JSON of a volume, or {}; it is written last, beside the uncorrected volume."""
    file = volume.with_name(CORRECTED.sub("", volume.name).removesuffix(".nii.gz") + ".json")
    try:
        content = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _lines(done: CompletedProcess[str]) -> list[str]:
    """Return the lines that dcm2niix printed, its summarising error stream first."""
    return [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]


def warning_lines(done: CompletedProcess[str]) -> list[str]:
    """Return the lines with errors and warnings."""
    return [line for line in _lines(done) if re.match(r"(error|warning|unable)", line, re.IGNORECASE)]


def lines_beside_banner(done: CompletedProcess[str]) -> list[str]:
    """Return all lines except that with the version."""
    return [line for line in _lines(done) if not _BANNER.search(line)]


def failure_line(done: CompletedProcess[str]) -> str:
    """Return the most informative line: the last error or warning, else the last line."""
    return (warning_lines(done) or lines_beside_banner(done) or [f"exit code {done.returncode}"])[-1]


def uneven_volumes(done: CompletedProcess[str]) -> set[str]:
    """Return names of the volumes with uneven slices, whose warning is printed before the name."""
    names, warned = set(), False
    for line in done.stdout.splitlines():
        if "Interslice distance varies" in line:
            warned = True
        elif match := _CONVERTED.match(line.strip()):
            if warned:
                names.add(f"{Path(match[1]).name}.nii.gz")
            warned = False
    return names
