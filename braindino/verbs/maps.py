"""Draw what an encoder's patch tokens see in scans, as pictures and as NIfTI."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braindino.datasets.discovery import MASK_LIKE, find_volumes, stem
from braindino.datasets.manifest import ManifestBuilder
from braindino.encoders.map_files import MapFiles, reference_position, write_maps
from braindino.encoders.maps import scan_maps, slice_view
from braindino.errors import BraindinoError, LayoutError
from braindino.progress import track
from braindino.scans.store.fill import fill
from braindino.verbs.opening import Device, as_paths, check_at_least_one, open_device, open_encoder

MAX_REASONS = 3  # in the message of an error


@dataclass(frozen=True)
class DrawnMaps:
    """The maps of some scans.

    Attributes:
        drawn: name of the scan -> its files.
        rejected: a sentence for each scan that was not drawn.
    """

    drawn: dict[str, MapFiles]
    rejected: list[str]


def maps(
    scans: Sequence[Path | str] | Path | str,
    encoder: str,
    out: Path | str,
    *,
    voxel: tuple[int, int, int] | None = None,
    mm: tuple[float, float, float] | None = None,
    slices: int = 6,
    store: Path | str | None = None,
    strip_cmd: str | None = None,
    jobs: int = 1,
    batch_size: int = 64,
    device: Device = "auto",
    prepare: bool = False,
    progress: bool = True,
) -> DrawnMaps:
    """Draw a scan's patch tokens: components, likeness to a patch and to the CLS token.

    Writes `<scan>_maps.png`, and in the scan's native space `<scan>_pca.nii.gz` (three volumes, whitened over
    the foreground; viewers show them as red, green and blue), `<scan>_similarity.nii.gz` (cosine with the
    reference patch) and `<scan>_cls.nii.gz` (cosine of each patch with its slice's CLS token). Features are
    cached in the store: the same call continues where it was interrupted.

    Args:
        scans: scan files, or folders of them or of DICOM series, skull-stripped if the encoder needs it.
        encoder: a folder made by `export`, a pretraining run, a file of weights, a timm name (`hub:NAME`
            fetches it).
        out: folder to write into.
        voxel: the reference patch, by a voxel of the scan; by default one in the middle of the brain.
        mm: the same by a position in the scan's space, in mm.
        slices: number of slices in the picture.
        store: folder of prepared scans and their features; if omitted, `store` in the output folder, which is
            made.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. A command that only the store
            names is not run.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        device: device that the encoder runs on.
        prepare: make the store that `store` names, also where others lie near by.
        progress: False shows no progress bar.

    Returns:
        The files of each scan, and the reasons why others were not drawn.

    Raises:
        BraindinoError: no such scan, encoder, device or store, two references, or no scan that can be drawn.
    """
    if voxel is not None and mm is not None:
        raise BraindinoError("--voxel and --mm both name the reference; give one.")
    check_at_least_one(slices=slices)
    out = Path(out)
    target = open_device(device)
    files, rejected = _scan_files(as_paths(scans), out / "dicom")
    folder = out / "store" if store is None else Path(store)
    network, opened = open_encoder(encoder, folder, prepare or store is None, strip_cmd, progress)
    table = pd.DataFrame({"path": [str(path) for path in files.values()]})
    fill(opened, table, jobs=jobs, progress=progress)
    opened.refresh()
    reasons = opened.rejects().set_index("path")["reason"]
    drawn: dict[str, MapFiles] = {}
    for name, path in track(files.items(), len(files), "draw", progress and len(files) > 1):
        key = opened.key_of(path)
        if key is None:
            rejected.append(f"{path}: {reasons.get(str(path.absolute()), 'not in the store')}.")
            continue
        try:
            geometry = opened.geometry(key)
            reference = reference_position(geometry, voxel, mm)
            bar = progress and sys.stderr.isatty()
            made = scan_maps(network, opened, key, reference, batch_size, str(target), bar)
            title, view = f"{name}, {encoder}", slice_view(opened, key)
            drawn[name] = write_maps(path, made, geometry, view, out / name, title, slices)
        except BraindinoError as error:
            rejected.append(f"{path}: {error}" if len(files) > 1 else str(error))
    if not drawn:
        raise BraindinoError("\n".join(rejected[:MAX_REASONS]))
    return DrawnMaps(drawn, rejected)


def _scan_files(paths: Sequence[Path], converted: Path) -> tuple[dict[str, Path], list[str]]:
    """Find the scans of files and folders, and convert DICOM series.

    Args:
        paths: scan files, and folders of scans or of DICOM series.
        converted: folder that DICOM series are converted into.

    Returns:
        Scans by the name of their maps, and a sentence for each scan that cannot be used.

    Raises:
        BraindinoError: no such file or folder, a folder without scans, or two scans of one name.
    """
    scans: list[Path] = []
    rejected: list[str] = []
    for path in paths:
        if path.is_dir():
            volumes, reasons = _folder_scans(path, converted)
            scans += volumes
            rejected += reasons
        elif path.is_file():
            scans.append(path)
        else:
            raise BraindinoError(f"{path}: no such scan or folder.")
    scans = list(dict.fromkeys(scans))
    count = Counter(stem(path) for path in scans)
    names: dict[str, Path] = {}
    for path in scans:
        name = stem(path) if count[stem(path)] == 1 else f"{path.absolute().parent.name}_{stem(path)}"
        if name in names:
            raise BraindinoError(
                f"{path} and {names[name]}: have one name; draw them into different folders."
            )
        names[name] = path
    return names, rejected


def _folder_scans(folder: Path, converted: Path) -> tuple[list[Path], list[str]]:
    """Return the scans of a folder, and a sentence for each that cannot be used."""
    rows = ManifestBuilder("maps")
    volumes: list[Path] = []
    with suppress(LayoutError):  # no series has a volume; `rows` has the reason of each
        volumes += (volume.path for volume in find_volumes(folder, rows, converted.absolute()))
    volumes = [volume for volume in volumes if not MASK_LIKE.search(stem(volume))]
    dropped = rows.build().dropped.to_dict("records")
    if not volumes and not dropped:
        raise BraindinoError(f"{folder}: no scans in it.")
    return volumes, [f"{row['path']}: {row['reason']}." for row in dropped]
