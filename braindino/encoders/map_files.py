"""Write the maps of a scan's patch tokens as a picture, and as volumes in native space."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindino.analysis.figures.patch_maps import map_montage
from braindino.analysis.figures.slice_view import SliceView
from braindino.analysis.principal_components import as_colours
from braindino.encoders.maps import ScanMaps
from braindino.files import atomic_write
from braindino.scans.geometry import Geometry, restore_values
from braindino.scans.nifti import write_volume
from braindino.scans.subset import evenly_spaced

KINDS = ("pca", "similarity", "cls")


@dataclass(frozen=True)
class MapFiles:
    """Files of the maps of one scan.

    Attributes:
        scan: the scan's file.
        picture: slices beside their maps, PNG.
        volumes: `pca` (three volumes), `similarity` and `cls` -> NIfTI in the scan's native space.
    """

    scan: Path
    picture: Path
    volumes: dict[str, Path]


def write_maps(
    scan: Path,
    maps: ScanMaps,
    geometry: Geometry,
    view: SliceView,
    stem: Path,
    title: str,
    slices: int = 6,
) -> MapFiles:
    """Write `<stem>_maps.png` and a NIfTI of each map.

    Args:
        scan: the scan's file.
        maps: maps of the scan, see `scan_maps`.
        geometry: geometry of the scan in its store.
        view: how its slices are drawn, see `slice_view`.
        stem: path of the files, without `_maps.png`.
        title: title of the picture; the position of the reference is added.
        slices: number of slices in the picture, at least one.
    """
    foreground = maps.foreground
    components = [restore_values(maps.components[..., i], foreground, geometry) for i in range(3)]
    volumes = (
        np.stack(components, axis=-1),
        restore_values(maps.similarity, foreground, geometry),
        restore_values(maps.cls, foreground, geometry),
    )
    paths = {kind: stem.with_name(f"{stem.name}_{kind}.nii.gz") for kind in KINDS}
    for path, values in zip(paths.values(), volumes, strict=True):
        write_volume(path, values.astype(np.float32), np.asarray(geometry.affine))
    picture = stem.with_name(f"{stem.name}_maps.png")
    _draw(picture, maps, geometry, view, title, slices)
    return MapFiles(scan, picture, paths)


def reference_position(
    geometry: Geometry, voxel: tuple[int, int, int] | None, mm: tuple[float, float, float] | None
) -> tuple[float, float, float] | None:
    """Return a position in prepared voxels (slice, row, column), or None if none is given.

    Args:
        geometry: geometry of the scan in its store.
        voxel: position in voxels of the scan.
        mm: position in the scan's space, in mm.
    """
    if voxel is None and mm is None:
        return None
    place = np.asarray(mm if voxel is None else (np.asarray(geometry.affine) @ [*voxel, 1])[:3])
    a, b, c = (np.linalg.inv(geometry.grid_affine) @ [*place, 1])[:3]
    return float(a), float(b), float(c)


def _draw(path: Path, maps: ScanMaps, geometry: Geometry, view: SliceView, title: str, slices: int) -> None:
    """Draw some slices beside their maps, with the reference patch framed in red."""
    foreground = maps.foreground
    colours = np.zeros_like(maps.components)
    colours[foreground] = as_colours(maps.components[foreground])
    plane, row, column = maps.reference
    height = maps.slices.shape[1] // foreground.shape[1]
    width = maps.slices.shape[2] // foreground.shape[2]
    # Middle of the patch, in prepared voxels.
    centre = [plane, (row + 0.5) * height - 0.5, (column + 0.5) * width - 0.5, 1]
    position = (geometry.grid_affine @ centre)[:3]
    shown = _drawn_slices(foreground, plane, slices)
    figure = map_montage(
        maps.slices[shown],
        [
            ("three components", colours[shown]),
            ("like the reference", maps.similarity[shown]),
            ("like the CLS token", maps.cls[shown]),
        ],
        foreground[shown],
        shown,
        f"{title}; reference (red) at {', '.join(f'{x:.0f}' for x in position)} mm",
        mark=(shown.index(plane), row, column),
        views=[view] * len(shown),
    )
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=130)


def _drawn_slices(foreground: np.ndarray, reference: int, count: int) -> list[int]:
    """Return numbers of slices, evenly spaced over the foreground, with the reference's."""
    planes = np.flatnonzero(foreground.any(axis=(1, 2)))
    inner = planes[len(planes) // 10 : len(planes) - len(planes) // 10]
    chosen = inner[evenly_spaced(len(inner), min(count, len(inner)))]
    chosen[int(np.abs(chosen - reference).argmin())] = reference
    return sorted({int(i) for i in chosen})
