"""Strip skulls by a command of the user, with results cached by content and command."""

import hashlib
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from braindino.errors import BraindinoError, ScanError
from braindino.scans.reading import Scan, read_scan

TIMEOUT_S = 3600  # HD-BET on a CPU takes ten minutes; an hour means that the tool hangs


def show_command(command: str | None) -> str:
    """Return a command for a message, with control characters escaped."""
    text = "none" if command is None else str(command)
    return text if text.isprintable() else ascii(text)


def strip_cmd_option(command: str) -> str:
    """Return the option by which a user accepts `command`, on the command line and in a config."""
    option = f"--strip-cmd {shlex.quote(show_command(command))}"
    return f"{option}\n(of probe and bench: data.strip_cmd)"


def check_consent(store: Path, command: str | None, given: bool, scans: int) -> None:
    """Raise BraindinoError if a command that would run is not the user's, or cannot run.

    Args:
        store: folder of the store, for the message.
        command: the command that the store records.
        given: True if the user gave the same command.
        scans: number of scans it would run on.
    """
    if command is None:
        return
    if not given:
        raise BraindinoError(
            f"{store}: {scans} scans are not in this store, and it has a command for skull stripping:\n"
            f"    {show_command(command)}\n"
            f"A command runs only if you give it. If you trust this one: {strip_cmd_option(command)}"
        )
    check_strip_cmd(command)


def check_strip_cmd(command: str) -> None:
    """Raise BraindinoError for a command that cannot work, before the first scan is read."""
    if not command.isprintable():
        raise BraindinoError(f"--strip-cmd {command!a}: expected one line of printable characters")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BraindinoError(f"--strip-cmd {command!r}: {error}") from None
    if not any("{in}" in word for word in words) or not any("{out}" in word for word in words):
        raise BraindinoError(
            f"--strip-cmd {command!r}: expected {{in}} and {{out}} where the two file names go,\n"
            'for example "hd-bet -i {in} -o {out}"'
        )
    if shutil.which(words[0]) is None:
        raise BraindinoError(
            f"--strip-cmd: there is no program {words[0]!r} on the PATH; install it, or give its full path"
        )


def strip_skull(scan: Scan, command: str, cache: Path) -> Scan:
    """Return a scan with everything but the brain set to 0; sha256 stays the original's.

    The command runs without a shell: it is split as a shell would, then {in} and {out} are replaced. {out} is
    an .nii.gz in a temporary folder.

    Args:
        scan: the scan to strip.
        command: command with the placeholders {in} and {out}.
        cache: folder of the results.

    Raises:
        ScanError: the command fails, or its result has a different grid than the scan.
    """
    name = hashlib.sha256(f"{scan.sha256}:{command}".encode()).hexdigest()[:40]
    result = cache / f"{name}.nii.gz"
    if not result.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".running-") as folder:
            out = Path(folder) / "stripped.nii.gz"
            _run(scan.path, out, command)
            out.replace(result)
    try:
        stripped = read_scan(result)
    except ScanError as error:
        result.unlink(missing_ok=True)
        raise ScanError(scan.path, f"skull stripping made an unusable file: {error.reason}") from None
    if stripped.data.shape != scan.data.shape or not np.allclose(stripped.affine, scan.affine, atol=1e-2):
        raise ScanError(
            scan.path, "skull stripping changed the grid: expected the shape and affine of the scan"
        )
    return replace(stripped, path=scan.path, sha256=scan.sha256)


def _run(path: Path, out: Path, command: str) -> None:
    words = [word.replace("{in}", str(path)).replace("{out}", str(out)) for word in shlex.split(command)]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ScanError(path, f"skull stripping took more than {TIMEOUT_S} s", lasting=False) from None
    except OSError as error:
        raise ScanError(path, f"skull stripping could not start: {error.strerror}", lasting=False) from None
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ScanError(path, f"skull stripping failed (exit code {done.returncode}): {output}")
    if not out.is_file():
        raise ScanError(path, "skull stripping ended with exit code 0 but wrote nothing to {out}")
