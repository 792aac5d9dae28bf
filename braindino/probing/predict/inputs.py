"""The scans to predict (files, folders, DICOM series, manifests), grouped into cases."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from braindino.datasets.discovery import MASK_LIKE, FoundVolume, find_volumes, stem, unusable
from braindino.datasets.generic.bids import entities
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder, is_manifest
from braindino.datasets.sequences import BIDS_SUFFIXES, UNKNOWN, complex_part, is_localizer, sequence_in_name
from braindino.errors import BraindinoError, LayoutError
from braindino.probing.predict.checks import Deviation


@dataclass(frozen=True)
class NewScan:
    """A scan to predict.

    Attributes:
        case: name of its case.
        modality: its modality.
        path: its file.
        source: the file or folder that the user named.
        lone: whether the user named the file, or a folder of files, so that the file names the case.
    """

    case: str
    modality: str
    path: Path
    source: Path
    lone: bool = False


@dataclass(frozen=True)
class Rejection:
    """A case or scan that is not predicted; a row of rejects.csv.

    Attributes:
        case: name of the case.
        path: the file or folder.
        check: name of the check, one of `CHECKS`, or "finite".
        reason: the reason.
    """

    case: str
    path: str
    check: str
    reason: str


def find_cases(
    sources: Sequence[Path], modalities: Sequence[str], converted: Path
) -> tuple[dict[str, dict[str, NewScan]], list[Rejection]]:
    """Return cases by name, each with its scans by modality, and what was rejected.

    The rows of a manifest with one subject and session are a case, and so are the DICOM series of a folder
    that was named. Each other file is a case if the probe takes one modality; if it takes several, files
    whose names differ only in the last word are one (`sub-01_T1w`, `sub-01_FLAIR`). Files in a folder are
    skipped if their names are those of a mask or of another modality; files that were named are not.

    Args:
        sources: scans, folders of scans or of DICOM series, and manifests.
        modalities: modalities of the probe.
        converted: folder for converted DICOM series.

    Raises:
        BraindinoError: a path does not exist, a table is no manifest, or DICOM without dcm2niix.
    """
    scans: list[NewScan] = []
    rejected: list[Rejection] = []
    for path in sources:
        if path.suffix.lower() in (".csv", ".tsv", ".xlsx"):
            scans += _scans_of_manifest(path)
        elif path.is_dir():
            in_folder, failed = _scans_of_folder(path, modalities, converted / _plain(path.absolute().name))
            scans += in_folder
            rejected += failed
        elif not path.exists() and not path.is_symlink():
            raise BraindinoError(f"{path}: no such scan, folder or manifest.")
        elif reason := unusable(path):
            rejected.append(Rejection(stem(path), str(path), "readable", reason))
        else:
            scans.append(_scan_of_file(path, modalities))
    cases: dict[str, dict[str, NewScan]] = {}
    for scan in _distinct(scans, modalities):
        case = cases.setdefault(scan.case, {})
        if scan.modality in case:
            reason = f"the case has another {scan.modality}: {case[scan.modality].source}"
            rejected.append(Rejection(scan.case, str(scan.source), "modality", reason))
        else:
            case[scan.modality] = scan
    return cases, rejected


def choose_scans(
    scans: Mapping[str, NewScan], modalities: Sequence[str], may_miss: Sequence[str]
) -> tuple[dict[str, NewScan], list[Deviation]]:
    """Return the scans of a case that the probe takes, and deviations from the training data.

    A single scan of unknown modality is taken for the one modality of the probe. A single scan of another
    modality is taken too, with a deviation that rejects it.

    Args:
        scans: modality -> scan.
        modalities: modalities of the probe.
        may_miss: modalities that some training cases did not have.
    """
    taken = {modality: scans[modality] for modality in modalities if modality in scans}
    if len(modalities) == 1 and len(scans) == 1 and not taken:
        (scan,) = scans.values()
        message = f"{scan.modality} by its name or manifest, the probe takes {modalities[0]}"
        deviations = [] if scan.modality == UNKNOWN else [Deviation("modality", message, True)]
        return {modalities[0]: scan}, deviations
    missing = [modality for modality in modalities if modality not in taken]
    if not missing:
        return taken, []
    rejects = not taken or any(modality not in may_miss for modality in missing)
    present = f" (there: {', '.join(sorted(scans))})" if rejects else ""
    return taken, [Deviation("modality", f"no {', '.join(missing)}{present}", rejects)]


def _distinct(scans: list[NewScan], modalities: Sequence[str]) -> list[NewScan]:
    """Return each file once; files of equal name get the name of their folder, too."""
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


def _scans_of_manifest(path: Path) -> list[NewScan]:
    """Return the scans of a manifest, without its masks."""
    if not path.is_file():
        raise BraindinoError(f"{path}: no such manifest.")
    if path.suffix.lower() != ".csv" or not is_manifest(path):
        raise BraindinoError(
            f"{path}: a table, but no manifest. Make one with `braindino index`, of scans listed in a table "
            "with `--dataset cohort`."
        )
    scans = []
    for row in Manifest.read(path).table.astype(str).to_dict("records"):
        if row["modality"] != MASK:
            case = f"sub-{_plain(row['subject'])}"
            if row["session"]:
                case += f"_ses-{_plain(row['session'])}"
            scan = Path(row["path"])
            scans.append(NewScan(case, row["modality"], scan, scan))
    return scans


def _scans_of_folder(
    folder: Path, modalities: Sequence[str], converted: Path
) -> tuple[list[NewScan], list[Rejection]]:
    """Return the scans below a folder that the probe may take, with DICOM series converted."""
    rows = ManifestBuilder("new")
    scans: list[NewScan] = []
    patients: list[str] = []
    for volume in _volumes(folder, rows, converted.absolute()):
        if volume.series is not None:
            name = volume.series.description or stem(volume.inside)
            if reason := _not_predictable(name):
                rows.drop(volume.series.source, "", reason)
                continue
            case = f"sub-{_plain(folder.absolute().name)}"
            patients.append(volume.series.patient)
            scans.append(NewScan(case, sequence_in_name(name), volume.path, Path(volume.series.source)))
        elif not MASK_LIKE.search(stem(volume.path)) and not _not_predictable(stem(volume.path)):
            scans.append(_scan_of_file(volume.path, modalities))
    # Series of several patients are several cases.
    if len(set(patients)) > 1:
        series = iter(patients)
        scans = [scan if scan.lone else replace(scan, case=f"{scan.case}{next(series)}") for scan in scans]
    wanted = [scan for scan in scans if scan.modality in (*modalities, UNKNOWN)]
    rejected = [
        Rejection(Path(row["path"]).name, row["path"], "readable", row["reason"])
        for row in rows.build().dropped.to_dict("records")
    ]
    if not wanted:
        present = f"; there are {', '.join(sorted({scan.modality for scan in scans}))}" if scans else ""
        reason = f"no {' or '.join(modalities)} in it{present}"
        rejected.append(Rejection(folder.absolute().name, str(folder), "modality", reason))
    return wanted, rejected


def _not_predictable(name: str) -> str:
    """Return why a series or file is no scan to predict from, by its name, or ""."""
    if is_localizer(name):
        return "localizer or scout, by its name"
    part = complex_part(name)
    return f"the {part} of the signal, not its magnitude" if part else ""


def _volumes(folder: Path, rows: ManifestBuilder, converted: Path) -> Iterator[FoundVolume]:
    """Yield all volumes below a folder; if no series gives one, `rows` has the reasons."""
    with suppress(LayoutError):
        yield from find_volumes(folder, rows, converted)


def _scan_of_file(path: Path, modalities: Sequence[str]) -> NewScan:
    name = stem(path)
    words = re.split(r"[_-](?=[^_-]*$)", name)
    modality = _not_predictable(name).partition(",")[0] or sequence_in_name(name)
    if "sub" in entities(path):
        case = name.rpartition("_")[0] if words[-1] in BIDS_SUFFIXES else name
    elif len(modalities) > 1 and len(words) > 1 and sequence_in_name(words[-1]) != UNKNOWN:
        case = words[0]
    else:
        case = name
    return NewScan(case, modality, path, path, lone=True)


def _plain(text: str) -> str:
    """Return letters and digits only, as BIDS labels have."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "x"
