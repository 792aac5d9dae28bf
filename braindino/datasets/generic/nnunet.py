"""Index nnU-Net folders: imagesTr/<case>_0000.nii.gz, labelsTr/<case>.nii.gz, dataset.json."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindino.datasets.brats_names import person_of_brats
from braindino.datasets.discovery import unusable
from braindino.datasets.generic.visits import visits_of_one_person
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.datasets.sequences import sequence_in_name
from braindino.documents import load_json
from braindino.errors import LayoutError

_PARTS = {"imagesTr": ("labelsTr", "train"), "imagesTs": ("labelsTs", "test")}


def is_nnunet(root: Path) -> bool:
    """Return True for a folder with `dataset.json` and `imagesTr/`."""
    return (root / "dataset.json").is_file() and (root / "imagesTr").is_dir()


def index_nnunet(root: Path, dataset: str, person: str | None = None, origin: Path | None = None) -> Manifest:
    """Return the manifest of an nnU-Net folder: one row per channel of a case and one per mask.

    Modalities are the channels' names in dataset.json. Files whose ending is not that of dataset.json are
    dropped. Files without a channel number (Medical Segmentation Decathlon) are channel 0. The column `split`
    is train or test, by the folder.

    Args:
        root: the folder with dataset.json.
        dataset: name of the dataset.
        person: regular expression that matches the person in the name of a case. Without it the person is the
            subject of a BIDS name (`sub-01_ses-2`), the number of a BraTS name, the part before visits
            (`p1_tp1`, `p1_tp2`), else the case itself.
        origin: see `ManifestBuilder`.

    Raises:
        LayoutError: dataset.json cannot be read or lists no channels, a file has another channel, there is no
            scan, or `person` does not match a case's name.
    """
    described = _read(root / "dataset.json")
    ending = str(described.get("file_ending", ".nii.gz"))
    channels = _channels(root / "dataset.json", described)
    rows = ManifestBuilder(dataset, origin)
    has_scans = False
    people = _people(root, ending)
    for images, (labels, part) in _PARTS.items():
        for folder in (root / images, root / labels):
            _drop_others(rows, folder, ending)
        for path in _files(root / images, ending):
            case, channel = _case(path.name.removesuffix(ending))
            if channel not in channels:
                raise LayoutError(
                    f"{path}: is channel {channel}; dataset.json lists only "
                    f"{', '.join(f'{k} ({v})' for k, v in channels.items())}."
                )
            has_scans |= _take(rows, path, case, channels[channel], part, person, people)
        for path in _files(root / labels, ending):
            _take(rows, path, path.name.removesuffix(ending), MASK, part, person, people)
    if not has_scans:
        raise LayoutError(f"{root}: no scan in imagesTr; looked for <case>_0000{ending}, by dataset.json.")
    return rows.build()


def nnunet_regions(root: Path) -> dict[str, tuple[int, ...]]:
    """Return the regions of the masks by dataset.json, name -> labels, without the background.

    Raises:
        LayoutError: dataset.json cannot be read or lists no labels.
    """
    file = root / "dataset.json"
    given = _read(file).get("labels")
    regions: dict[str, tuple[int, ...]] = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        # Older files have {"1": "lesion"}.
        if str(name).isdigit():
            name, value = value, name
        numbers = value if isinstance(value, list) else [value]
        if not all(str(number).isdigit() for number in numbers):
            raise LayoutError(f"{file}: labels: {name!r} is {value!r}; expected numbers.")
        # nnU-Net's name for voxels without a label; the user decides on them by `ignore_labels`.
        if str(name) == "ignore":
            continue
        regions[str(name)] = tuple(int(number) for number in numbers if int(number) > 0)
    regions = {name: numbers for name, numbers in regions.items() if numbers}
    if not regions:
        raise LayoutError(f'{file}: lists no labels; expected "labels": {{"background": 0, "lesion": 1}}.')
    return regions


def _case(name: str) -> tuple[str, int]:
    """Return case and channel of an image's name without its ending."""
    match = re.fullmatch(r"(.+)_(\d{4})", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _people(root: Path, ending: str) -> dict[str, str]:
    """Return case -> person, for names that are visits of one person: `p1_tp1`, `p1_tp2`."""
    files = [path for folder in _PARTS for path in _files(root / folder, ending)]
    cases = [_case(path.name.removesuffix(ending))[0] for path in files]
    visits = visits_of_one_person(cases)
    return {case: person for person, group in visits.items() for case in group}


def _drop_others(rows: ManifestBuilder, folder: Path, ending: str) -> None:
    """Drop the files of a folder whose ending is not that of dataset.json."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.startswith(".") and not path.name.endswith(ending):
            rows.drop(path, "", f"does not end in {ending}, as dataset.json has it")


def _group(dataset: str, path: Path, case: str, pattern: str | None, people: Mapping[str, str]) -> str:
    """Return the key of the person that a case is of, by its name; see `index_nnunet`."""
    if pattern is None:
        bids = re.match(r"(sub-[A-Za-z0-9]+)(_|$)", case)
        return person_of_brats(case) or f"{dataset}:{bids[1] if bids else people.get(case, case)}"
    match = re.search(pattern, case)
    if match is None:
        raise LayoutError(f"{path}: the option person, {pattern!r}, matches nothing in {case!r}.")
    return f"{dataset}:{match[1] if match.re.groups else match[0]}"


def _take(
    rows: ManifestBuilder,
    path: Path,
    case: str,
    modality: str,
    part: str,
    person: str | None,
    people: Mapping[str, str],
) -> bool:
    """Add a scan or mask, or drop it with its reason; return True where it was added."""
    reason = unusable(path)
    if reason:
        rows.drop(path, case, reason)
    else:
        rows.keep(path, case, modality, group=_group(rows.dataset, path, case, person, people), split=part)
    return not reason


def _files(folder: Path, ending: str) -> list[Path]:
    """Return the files of a folder that have an ending, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))


def _read(file: Path) -> dict[str, Any]:
    """Read dataset.json; raise LayoutError where that fails."""
    try:
        content: dict[str, Any] = load_json(file, dict[str, Any])
    except (OSError, ValueError) as error:
        raise LayoutError(f"{file}: cannot be read as JSON ({error}).") from error
    return content


def _channels(file: Path, described: dict[str, Any]) -> dict[int, str]:
    """Return channel -> sequence: our name if all are recognised and differ, else the file's."""
    given = described.get("channel_names", described.get("modality"))
    if not isinstance(given, dict) or not given or not all(str(key).isdigit() for key in given):
        raise LayoutError(
            f'{file}: lists no channels; expected "channel_names": {{"0": "T1w", ...}} (or "modality").'
        )
    named = {int(key): str(name) for key, name in given.items()}
    recognised = {key: sequence_in_name(name) for key, name in named.items()}
    if "unknown" not in recognised.values() and len(set(recognised.values())) == len(recognised):
        return recognised
    names = list(named.values())
    return {key: f"{name}_{key}" if names.count(name) > 1 else name for key, name in named.items()}
