"""Scans as a user names them (files, folders, DICOM series, manifests) as cases that a probe can answer."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from braindino.datasets.discovery import MASK_LIKE, FoundVolume, find_volumes, stem, unusable
from braindino.datasets.generic.bids import SUFFIXES, entities
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder, is_manifest
from braindino.datasets.sequences import UNKNOWN, complex_part, is_localizer, sequence_of
from braindino.errors import BraindinoError, LayoutError
from braindino.probing.predict.checks import Finding


@dataclass(frozen=True)
class NewScan:
    """A scan to be predicted: the case it belongs to, what it is, where it is, what the user named.

    lone: a file of its own, named by its file.
    """

    case: str
    modality: str
    path: Path
    source: Path
    lone: bool = False


@dataclass(frozen=True)
class Refused:
    """What is not predicted, and why: `check` is one of `conformity.CHECKS`."""

    case: str
    path: str
    check: str
    reason: str


def find_cases(
    given: Sequence[Path], modalities: Sequence[str], converted: Path
) -> tuple[dict[str, dict[str, NewScan]], list[Refused]]:
    """Cases by name, each with its scans by modality, and what was refused.

    A manifest's rows of one subject and session are a case, and so are the DICOM series of one folder that
    was named. Of other files each is a case where the probe takes one modality; where it takes several,
    files whose names differ in the last word only are one (`sub-01_T1w`, `sub-01_FLAIR`). What lies in a
    folder and is of another modality by its name, or a mask, is passed over; a file that was named is not.

    Args:
        given: scans, folders of scans or of DICOM series, and manifests.
        modalities: that the probe takes.
        converted: folder that DICOM series are converted into.

    Raises:
        BraindinoError: nothing of that name, a table that is no manifest, or DICOM without dcm2niix.
    """
    scans: list[NewScan] = []
    refused: list[Refused] = []
    for path in given:
        if path.suffix.lower() in (".csv", ".tsv", ".xlsx"):
            scans += _of_manifest(path)
        elif path.is_dir():
            found, lost = _of_folder(path, modalities, converted / _plain(path.absolute().name))
            scans += found
            refused += lost
        elif not path.exists() and not path.is_symlink():
            raise BraindinoError(f"{path}: no such scan, folder or manifest.")
        elif reason := unusable(path):
            refused.append(Refused(stem(path), str(path), "readable", reason))
        else:
            scans.append(_of_file(path, modalities))
    cases: dict[str, dict[str, NewScan]] = {}
    for scan in _apart(scans, modalities):
        case = cases.setdefault(scan.case, {})
        if scan.modality in case:
            said = f"the case has another {scan.modality}: {case[scan.modality].source}"
            refused.append(Refused(scan.case, str(scan.source), "modality", said))
        else:
            case[scan.modality] = scan
    return cases, refused


def choose_scans(
    name: str, scans: Mapping[str, NewScan], modalities: Sequence[str], may_miss: Sequence[str]
) -> tuple[dict[str, NewScan], list[Finding]]:
    """The scans of a case that the probe takes, by modality, and what is to be said of them.

    A single scan of which nothing tells what it is, or what is said to be another modality and is accepted
    nevertheless, is taken for the one modality of the probe.

    Args:
        may_miss: modalities that some training cases had none of, so that a gap is nothing new to the probe.
    """
    taken = {modality: scans[modality] for modality in modalities if modality in scans}
    if len(modalities) == 1 and len(scans) == 1 and not taken:
        (scan,) = scans.values()
        told = f"{scan.modality} by its name or manifest, the probe takes {modalities[0]}"
        return {modalities[0]: scan}, [] if scan.modality == UNKNOWN else [Finding("modality", told, True)]
    missing = [modality for modality in modalities if modality not in taken]
    if not missing:
        return taken, []
    grave = not taken or any(modality not in may_miss for modality in missing)
    there = f" (there: {', '.join(sorted(scans))})" if grave else ""
    return taken, [Finding("modality", f"no {', '.join(missing)}{there}", grave)]


def _apart(scans: list[NewScan], modalities: Sequence[str]) -> list[NewScan]:
    """The same, a file named twice taken once; equal names of lone scans in several folders told apart."""
    once = list({scan.path: scan for scan in scans}.values())
    if len(modalities) > 1:
        return once
    count = Counter((scan.case, scan.modality) for scan in once)
    return [
        replace(scan, case=f"{scan.path.absolute().parent.name}_{scan.case}")
        if count[scan.case, scan.modality] > 1 and scan.lone
        else scan
        for scan in once
    ]


def _of_manifest(path: Path) -> list[NewScan]:
    if not path.is_file():
        raise BraindinoError(f"{path}: no such manifest.")
    if path.suffix.lower() != ".csv" or not is_manifest(path):
        raise BraindinoError(
            f"{path}: a table, but no manifest. Make one with `braindino index`, of scans listed in a table "
            "with `--dataset cohort`."
        )
    found = []
    for row in Manifest.read(path).table.astype(str).to_dict("records"):
        if row["modality"] != MASK:
            named = [
                f"sub-{_plain(row['subject'])}",
                *([f"ses-{_plain(row['session'])}"] * bool(row["session"])),
            ]
            scan = Path(row["path"])
            found.append(NewScan("_".join(named), row["modality"], scan, scan))
    return found


def _of_folder(
    folder: Path, modalities: Sequence[str], converted: Path
) -> tuple[list[NewScan], list[Refused]]:
    """All scans below a folder, DICOM series converted."""
    rows = ManifestBuilder("new")
    scans: list[NewScan] = []
    patients: list[str] = []
    for found in _volumes(folder, rows, converted.absolute()):
        if found.series is not None:
            named = found.series.description or stem(found.inside)
            if reason := _no_scan(named):
                rows.drop(found.series.source, "", reason)
                continue
            case = f"sub-{_plain(folder.absolute().name)}"
            patients.append(found.series.patient)
            scans.append(NewScan(case, sequence_of(named), found.path, Path(found.series.source)))
        elif not MASK_LIKE.search(stem(found.path)) and not _no_scan(stem(found.path)):
            scans.append(_of_file(found.path, modalities))
    if len(set(patients)) > 1:  # of one folder, but no case of its own each
        series = iter(patients)
        scans = [scan if scan.lone else replace(scan, case=f"{scan.case}{next(series)}") for scan in scans]
    wanted = [scan for scan in scans if scan.modality in (*modalities, UNKNOWN)]
    refused = [
        Refused(Path(row["path"]).name, row["path"], "readable", row["reason"])
        for row in rows.build().dropped.to_dict("records")
    ]
    if not wanted:
        there = f"; there are {', '.join(sorted({scan.modality for scan in scans}))}" if scans else ""
        told = f"no {' or '.join(modalities)} in it{there}"
        refused.append(Refused(folder.absolute().name, str(folder), "modality", told))
    return wanted, refused


def _no_scan(name: str) -> str:
    """Return why a series or file is no scan to predict from, by its name, or `""`."""
    if is_localizer(name):
        return "localizer or scout, by its name"
    part = complex_part(name)
    return f"the {part} of the signal, not its magnitude" if part else ""


def _volumes(folder: Path, rows: ManifestBuilder, converted: Path) -> Iterator[FoundVolume]:
    """All there are; where no series gives one, `rows` has the reason of each."""
    with suppress(LayoutError):
        yield from find_volumes(folder, rows, converted)


def _of_file(path: Path, modalities: Sequence[str]) -> NewScan:
    name = stem(path)
    words = re.split(r"[_-](?=[^_-]*$)", name)
    modality = _no_scan(name).partition(",")[0] or sequence_of(name)
    if "sub" in entities(path):
        case = name.rpartition("_")[0] if words[-1] in SUFFIXES else name
    elif len(modalities) > 1 and len(words) > 1 and sequence_of(words[-1]) != UNKNOWN:
        case = words[0]
    else:
        case = name
    return NewScan(case, modality, path, path, lone=True)


def _plain(text: str) -> str:
    """Letters and digits only, as BIDS has labels."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "x"
