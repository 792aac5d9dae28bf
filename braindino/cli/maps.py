"""`braindino maps`: what an encoder's patch tokens see in scans, as pictures and as NIfTI over the scan."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from braindino.errors import BraindinoError
from braindino.verbs.opening import Device

if TYPE_CHECKING:
    import numpy as np
    import torch

    from braindino.encoders.base import Encoder
    from braindino.scans.geometry import Geometry
    from braindino.scans.store.store import Store

KINDS = ("pca", "similarity", "cls")


def maps(
    *scans: Path,
    encoder: str,
    out: Path,
    voxel: tuple[int, int, int] | None = None,
    mm: tuple[float, float, float] | None = None,
    slices: int = 6,
    store: Path | None = None,
    strip_cmd: str | None = None,
    jobs: int = 1,
    batch_size: int = 64,
    device: Device = "auto",
    prepare: bool = False,
) -> int:
    """Draw a scan's patch tokens: principal components, likeness to a patch, likeness to the CLS token.

    Writes `<scan>_maps.png`, and in the scan's own space `<scan>_pca.nii.gz` (three volumes, whitened over
    the foreground; viewers show them as red, green and blue), `<scan>_similarity.nii.gz` (cosine with the
    reference patch) and `<scan>_cls.nii.gz` (cosine of each patch with its slice's CLS token). Features are
    kept in the store: the same command again goes on where it was interrupted.

    Args:
        scans: scan files, or folders of them or of DICOM series, skull-stripped as the encoder wants them.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name
            (`hub:NAME` fetches it).
        out: folder to write into.
        voxel: the reference patch, by a voxel of the scan, as `--voxel 88 120 40`; by default one in the
            middle of the brain.
        mm: the same by a position in the scan's space, as `--mm -12 5 30`.
        slices: how many slices the picture shows.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. One that only the store names
            is not run.
        store: folder of prepared scans and their features; if omitted, `store` in the output folder, made
            there.
        prepare: make the store that --store names, also where others lie near by.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        device: where the encoder runs.

    Returns:
        0, or 1 when some scans could not be drawn: the others are.
    """
    import pandas as pd

    from braindino.progress import track
    from braindino.scans.store.fill import fill
    from braindino.verbs.opening import open_device, open_encoder

    if voxel is not None and mm is not None:
        raise BraindinoError("--voxel and --mm both name the reference; give one.")
    if slices < 1:
        raise BraindinoError(f"--slices {slices}: expected 1 or more.")
    target = open_device(device)
    files, refused = _files(scans, out / "dicom")
    network, there = open_encoder(encoder, store or out / "store", prepare or store is None, strip_cmd)
    fill(there, pd.DataFrame({"path": [str(path) for path in files.values()]}), jobs=jobs)
    there.refresh()
    reasons = there.rejects().set_index("path")["reason"]
    drawn = 0
    for name, path in track(files.items(), len(files), "draw", len(files) > 1):
        key = there.key_of(path)
        if key is None:
            refused.append(f"{path}: {reasons.get(str(path.absolute()), 'not in the store')}.")
            continue
        try:
            _draw(name, key, there, network, encoder, out, voxel, mm, slices, batch_size, target)
        except BraindinoError as error:
            refused.append(f"{path}: {error}" if len(files) > 1 else str(error))
            continue
        drawn += 1
        print(f"{out / f'{name}_maps.png'}; {', '.join(f'{name}_{kind}.nii.gz' for kind in KINDS)}")
    if not drawn:
        raise BraindinoError("\n".join(refused[:3]))
    for reason in refused:
        print(f"not drawn: {reason}")
    return 1 if refused else 0


def _files(given: Sequence[Path], converted: Path) -> tuple[dict[str, Path], list[str]]:
    """Scans by the name that their maps get, DICOM series converted; and what cannot be used, with why."""
    from braindino.datasets.discovery import MASK_LIKE, find_volumes, stem
    from braindino.datasets.manifest import ManifestBuilder
    from braindino.errors import LayoutError

    found: list[Path] = []
    refused: list[str] = []
    for path in given:
        if path.is_dir():
            rows = ManifestBuilder("maps")
            volumes: list[Path] = []
            with suppress(LayoutError):  # no series gave a volume: the rows tell why of each
                volumes += (volume.path for volume in find_volumes(path, rows, converted.absolute()))
            volumes = [volume for volume in volumes if not MASK_LIKE.search(stem(volume))]
            dropped = rows.build().dropped.to_dict("records")
            refused += [f"{row['path']}: {row['reason']}." for row in dropped]
            if not volumes and not dropped:
                raise BraindinoError(f"{path}: no scans in it.")
            found += volumes
        elif path.is_file():
            found.append(path)
        else:
            raise BraindinoError(f"{path}: no such scan or folder.")
    found = list(dict.fromkeys(found))
    count = Counter(stem(path) for path in found)
    names: dict[str, Path] = {}
    for path in found:
        name = stem(path) if count[stem(path)] == 1 else f"{path.absolute().parent.name}_{stem(path)}"
        if name in names:
            raise BraindinoError(f"{path} and {names[name]}: of one name; draw them into different folders.")
        names[name] = path
    return names, refused


def _draw(
    name: str,
    key: str,
    store: "Store",
    network: "Encoder",
    encoder: str,
    out: Path,
    voxel: tuple[int, int, int] | None,
    mm: tuple[float, float, float] | None,
    slices: int,
    batch_size: int,
    device: "torch.device",
) -> None:
    """Write the picture and the volumes of one prepared scan."""
    import numpy as np

    from braindino.analysis.figures.patch_maps import map_montage
    from braindino.analysis.principal_components import as_colours
    from braindino.encoders.maps import scan_maps, slice_view
    from braindino.files import atomic_write
    from braindino.scans.geometry import restore_values
    from braindino.scans.nifti import write_volume

    geometry = store.geometry(key)
    affine = np.asarray(geometry.affine)
    reference = _reference(geometry, voxel, mm)
    made = scan_maps(network, store, key, reference, batch_size, str(device), sys.stderr.isatty())
    volumes = (
        np.stack([restore_values(made.components[..., i], made.held, geometry) for i in range(3)], axis=-1),
        restore_values(made.similarity, made.held, geometry),
        restore_values(made.cls, made.held, geometry),
    )
    for kind, values in zip(KINDS, volumes, strict=True):
        write_volume(out / f"{name}_{kind}.nii.gz", values.astype(np.float32), affine)
    colours = np.zeros_like(made.components)
    colours[made.held] = as_colours(made.components[made.held])
    shown = _shown(made.held, made.reference[0], slices)
    centre = [made.reference[0], *_centre(made.reference, network.patch_size), 1]
    position = (geometry.grid_affine @ centre)[:3]
    figure = map_montage(
        made.slices[shown],
        [
            ("three components", colours[shown]),
            ("like the reference", made.similarity[shown]),
            ("like the CLS token", made.cls[shown]),
        ],
        made.held[shown],
        shown,
        f"{name}, {encoder}; reference (red) at {', '.join(f'{x:.0f}' for x in position)} mm",
        mark=(shown.index(made.reference[0]), *made.reference[1:]),
        views=[slice_view(store, key)] * len(shown),
    )
    with atomic_write(out / f"{name}_maps.png", "wb") as file:
        figure.savefig(file, format="png", dpi=130)


def _reference(
    geometry: "Geometry", voxel: tuple[int, int, int] | None, mm: tuple[float, float, float] | None
) -> tuple[float, float, float] | None:
    """The reference in prepared voxels (slice, row, column), or None if none was named."""
    import numpy as np

    if voxel is None and mm is None:
        return None
    place = mm if voxel is None else (np.asarray(geometry.affine) @ [*voxel, 1])[:3]
    a, b, c = (np.linalg.inv(geometry.grid_affine) @ [*place, 1])[:3]  # type: ignore[misc]
    return float(a), float(b), float(c)


def _shown(held: "np.ndarray", reference: int, count: int) -> list[int]:
    """Slices to draw: evenly spaced over the brain, the reference's among them."""
    import numpy as np

    from braindino.scans.subset import evenly_spaced

    planes = np.flatnonzero(held.any(axis=(1, 2)))
    inner = planes[len(planes) // 10 : len(planes) - len(planes) // 10]
    chosen = inner[evenly_spaced(len(inner), min(count, len(inner)))]
    chosen[int(np.abs(chosen - reference).argmin())] = reference
    return sorted({int(i) for i in chosen})


def _centre(reference: tuple[int, int, int], side: int | None) -> tuple[float, float]:
    """Row and column of the middle of a patch, in prepared pixels."""
    size = side or 1
    return (reference[1] + 0.5) * size - 0.5, (reference[2] + 0.5) * size - 0.5
