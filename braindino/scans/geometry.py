"""How a scan's own grid and the store's grid lie to each other, and masks taken from one to the other."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import Scan
from braindino.scans.resampling import Window, Windows, nearest_indices, resample


@dataclass(frozen=True)
class Geometry:
    """The way between a scan as stored (X, Y, Z) and its prepared slices (D, H, W).

    Axes are permuted and flipped to the nearest axis code, never rotated: an oblique scan is prepared along
    its own axes, and the way back is exact. The grid covers the field of view of the scan, or, of a contract
    with a spacing, a box about the middle of the scan or of what is not background.
    """

    shape: tuple[int, int, int]  # of the scan as stored
    affine: tuple[tuple[float, ...], ...]  # 4 x 4, stored voxel -> mm
    axes: tuple[int, int, int]  # the stored axis that became depth, rows, columns
    flips: tuple[bool, bool, bool]  # whether depth, rows, columns run against the stored axis
    grid: tuple[int, int, int]  # depth, rows, columns of the prepared slices
    windows: Windows  # the part of the turned scan that the grid covers along depth, rows, columns

    @classmethod
    def of(cls, scan: Scan, contract: Preprocessing) -> Self:
        """The geometry of `scan` under a contract's orientation, slice axes, depth, size, spacing, centre."""
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

        if contract.orientation == "native":
            order, flipped = [0, 1, 2], [False] * 3
        else:
            # transform[stored axis] = (oriented axis, +1 or -1)
            transform = ornt_transform(io_orientation(scan.affine), axcodes2ornt(tuple(contract.orientation)))
            order = [int(np.flatnonzero(transform[:, 0] == axis)[0]) for axis in range(3)]
            flipped = [bool(transform[stored, 1] < 0) for stored in order]
        x, y, z = scan.data.shape
        slice_axes, depth, spacing = contract.slice_axes, contract.depth, contract.spacing
        axes = (order[slice_axes[0]], order[slice_axes[1]], order[slice_axes[2]])
        lengths = [scan.data.shape[axis] for axis in axes]
        grid = (lengths[0] if depth is None else depth, *contract.size)
        windows = [(0.0, float(length)) for length in lengths]
        if spacing is not None:
            voxel = np.linalg.norm(scan.affine[:3, :3], axis=0)
            for k in range(1 if depth is None else 0, 3):
                covered = float(grid[k] * spacing / voxel[axes[k]])
                middle = _middle(scan.data, axes[k]) if contract.centre == "head" else 0.5 * lengths[k]
                middle = lengths[k] - middle if flipped[slice_axes[k]] else middle
                windows[k] = (middle - 0.5 * covered, covered)
        return cls(
            shape=(x, y, z),
            affine=tuple(tuple(float(v) for v in row) for row in scan.affine),
            axes=axes,
            flips=(flipped[slice_axes[0]], flipped[slice_axes[1]], flipped[slice_axes[2]]),
            grid=grid,
            windows=(windows[0], windows[1], windows[2]),
        )

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; what JSON made of the tuples is undone."""
        return cls(
            shape=tuple(value["shape"]),
            affine=tuple(tuple(row) for row in value["affine"]),
            axes=tuple(value["axes"]),
            flips=tuple(value["flips"]),
            grid=tuple(value["grid"]),
            windows=tuple(tuple(window) for window in value["windows"]),  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and numbers, for the JSON beside an array."""
        return {
            "shape": list(self.shape),
            "affine": [list(row) for row in self.affine],
            "axes": list(self.axes),
            "flips": list(self.flips),
            "grid": list(self.grid),
            "windows": [list(window) for window in self.windows],
        }

    @property
    def grid_affine(self) -> np.ndarray:
        """(4, 4) float64: prepared voxel (slice, row, column) -> mm in the scan's own space."""
        to_stored = np.zeros((4, 4))
        to_stored[3, 3] = 1
        for k, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            step = self.windows[k][1] / self.grid[k]
            start = self.windows[k][0] + 0.5 * step - 0.5
            to_stored[axis, k] = -step if flip else step
            to_stored[axis, 3] = self.shape[axis] - 1 - start if flip else start
        return np.asarray(self.affine) @ to_stored

    @property
    def stored_grid(self) -> tuple[int, int, int]:
        """The grid's lengths in the order of the stored axes."""
        lengths = dict(zip(self.axes, self.grid, strict=True))
        return lengths[0], lengths[1], lengths[2]

    @property
    def stored_windows(self) -> Windows:
        """The part of the stored voxels that the grid covers, in the order of the stored axes."""
        found: dict[int, Window] = {}
        for axis, flip, (start, length) in zip(self.axes, self.flips, self.windows, strict=True):
            found[axis] = (self.shape[axis] - start - length if flip else start, length)
        return found[0], found[1], found[2]

    def to_slices(self, volume: np.ndarray) -> np.ndarray:
        """View an array in the order of the stored axes as (depth, rows, columns)."""
        turned = volume.transpose(self.axes)
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def to_stored(self, slices: np.ndarray) -> np.ndarray:
        """View an array (depth, rows, columns) in the order of the stored axes: undoes `to_slices`."""
        turned = slices[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]
        return turned.transpose(np.argsort(self.axes))


def mask_to_grid(mask: Scan, geometry: Geometry) -> np.ndarray:
    """Take a mask drawn on the scan to the prepared grid (D, H, W) by nearest neighbour.

    Returns the mask's float32 values as they were read: labels are picked, never mixed. Raises ScanError when
    the mask was not drawn on this scan: another shape, or a corner of the volume that lies more than half the
    smallest voxel away.
    """
    if mask.data.shape != geometry.shape:
        raise ScanError(mask.path, f"mask of shape {mask.data.shape} on a scan of shape {geometry.shape}")
    away = _furthest_corner(mask.affine, np.asarray(geometry.affine), geometry.shape)
    if away > 0.5 * np.linalg.norm(np.asarray(geometry.affine)[:3, :3], axis=0).min():
        raise ScanError(
            mask.path, f"mask with another affine than its scan: a corner lies {away:.3g} mm away"
        )
    slices = geometry.to_slices(mask.data)
    sizes = zip(slices.shape, geometry.grid, geometry.windows, strict=True)
    picks = [nearest_indices(source, target, window) for source, target, window in sizes]
    picked = np.ascontiguousarray(slices[np.ix_(*picks)])
    for k, pick in enumerate(picks):
        np.moveaxis(picked, k, 0)[pick < 0] = 0  # outside of the scan
    return picked


def restore_mask(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Take a mask on the prepared grid (D, H, W) back to the scan's own grid (X, Y, Z), in the mask's dtype.

    Bool or integer labels. Each label's indicator is resampled linearly (antialiased where the scan is
    coarser) and each voxel takes the strongest label, so that outlines stay smooth; a tie goes to the smaller
    label. Voxels that the grid does not cover are 0.
    """
    if mask.shape != geometry.grid:
        raise ValueError(f"mask of shape {mask.shape} on a prepared grid of {geometry.grid}")
    if mask.dtype.kind not in "bui":
        raise ValueError(f"mask of dtype {mask.dtype}: expected bool or integer labels")
    stored = np.ascontiguousarray(geometry.to_stored(mask))
    sizes = zip(geometry.shape, geometry.stored_grid, geometry.stored_windows, strict=True)
    a, b, c = (
        (-start * cells / covered, length * cells / covered) for length, cells, (start, covered) in sizes
    )
    out = np.zeros(geometry.shape, mask.dtype)
    strongest = np.zeros(geometry.shape, np.float32)
    for label in np.unique(stored):
        strength = resample((stored == label).astype(np.float32), geometry.shape, (a, b, c))
        stronger = strength > strongest
        out[stronger] = label
        np.copyto(strongest, strength, where=stronger)
    return out


def restore_regions(masks: np.ndarray, geometry: Geometry, exclusive: bool) -> np.ndarray:
    """Masks (R, D, H, W) bool on the prepared grid -> (R, X, Y, Z) bool on the scan's own.

    exclusive: regions compete for each voxel on the way, so that they stay apart.
    """
    if not exclusive:
        return np.stack([restore_mask(mask, geometry) for mask in masks])
    labels = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    restored = restore_mask(labels, geometry)
    return np.stack([restored == number for number in range(1, len(masks) + 1)])


def _middle(data: np.ndarray, axis: int) -> float:
    """The middle of the nonzero voxels along an axis, in voxels from the edge of the first one."""
    others = tuple(other for other in range(3) if other != axis)
    held = np.flatnonzero(data.any(axis=others))
    return 0.5 * float(held[0] + held[-1] + 1) if len(held) else 0.5 * data.shape[axis]


def restore_values(values: np.ndarray, held: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Take numbers on a coarse or fine version of the prepared grid back to the scan's own grid (X, Y, Z).

    Linear between the centres of the cells that are held, and 0 where less than half is.

    Args:
        values: (d, h, w) float32, cells that divide the box of the prepared grid, such as patches.
        held: (d, h, w) bool, which cells count.
    """
    cells = np.array(values.shape)[np.argsort(geometry.axes)]
    sizes = zip(geometry.shape, cells, geometry.stored_windows, strict=True)
    a, b, c = (
        (float(-start * count / covered), float(length * count / covered))
        for length, count, (start, covered) in sizes
    )
    total, weight = (
        resample(np.ascontiguousarray(geometry.to_stored(part.astype(np.float32))), geometry.shape, (a, b, c))
        for part in (values * held, held)
    )
    return np.where(weight >= 0.5, total / np.maximum(weight, 0.5), np.float32(0))


def _furthest_corner(one: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> float:
    """The largest distance (mm) between where two affines put the corners of the volume."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((one - other) @ corners)[:3], axis=0).max())
