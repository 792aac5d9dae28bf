"""Transform between a scan's native grid and the store grid, and resample masks."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import Scan
from braindino.scans.resampling import Window, Windows, nearest_indices, resample


@dataclass(frozen=True)
class Geometry:
    """Transform between a scan as stored (X, Y, Z) and its prepared slices (D, H, W).

    Axes are permuted and flipped to the nearest axis code, never rotated: an oblique scan is prepared along
    its own axes, and the inverse is exact. The grid covers the field of view of the scan, or, under a
    contract with a spacing, a box around the middle of the scan or of its foreground.

    Attributes:
        shape: (X, Y, Z) of the scan as stored.
        affine: 4 x 4, stored voxel -> mm.
        axes: index of the stored axis that became depth, rows, columns.
        flips: True where depth, rows, columns run against the stored axis.
        grid: depth, rows, columns of the prepared slices.
        windows: part of the reoriented scan that the grid covers along depth, rows, columns.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    grid: tuple[int, int, int]
    windows: Windows

    @classmethod
    def of(cls, scan: Scan, contract: Preprocessing) -> Self:
        """Return the geometry of `scan` under a contract."""
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
        """Return the geometry of a `to_dict`, with the lists of JSON as tuples again."""
        return cls(
            shape=tuple(value["shape"]),
            affine=tuple(tuple(row) for row in value["affine"]),
            axes=tuple(value["axes"]),
            flips=tuple(value["flips"]),
            grid=tuple(value["grid"]),
            windows=tuple(tuple(window) for window in value["windows"]),  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for the JSON beside an array."""
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
        """Return the affine (4, 4) float64: prepared voxel (slice, row, column) -> mm in scan space."""
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
        """Return the grid's lengths in the order of the stored axes."""
        lengths = dict(zip(self.axes, self.grid, strict=True))
        return lengths[0], lengths[1], lengths[2]

    @property
    def stored_windows(self) -> Windows:
        """Return the part of the stored voxels that the grid covers, in the order of the axes."""
        windows: dict[int, Window] = {}
        for axis, flip, (start, length) in zip(self.axes, self.flips, self.windows, strict=True):
            windows[axis] = (self.shape[axis] - start - length if flip else start, length)
        return windows[0], windows[1], windows[2]

    def to_slices(self, volume: np.ndarray) -> np.ndarray:
        """View an array in the order of the stored axes as (depth, rows, columns)."""
        turned = volume.transpose(self.axes)
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def to_stored(self, slices: np.ndarray) -> np.ndarray:
        """View an array (depth, rows, columns) in the order of the stored axes: undoes `to_slices`."""
        turned = slices[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]
        return turned.transpose(np.argsort(self.axes))


def mask_to_grid(mask: Scan, geometry: Geometry) -> np.ndarray:
    """Resample a mask drawn on the scan to the prepared grid by nearest neighbour.

    Args:
        mask: mask in the grid of the scan.
        geometry: geometry of the scan.

    Returns:
        (D, H, W) float32, the values of the mask as they were read: labels are picked, never mixed.

    Raises:
        ScanError: the mask was not drawn on this scan: its shape differs, or a corner of the volume lies more
            than half the smallest voxel away.
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
        np.moveaxis(picked, k, 0)[pick < 0] = 0  # outside the scan
    return picked


def restore_mask(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Resample a mask from the prepared grid to the native grid of the scan.

    Each label's indicator is resampled linearly (antialiased where the scan is coarser) and each voxel takes
    the strongest label, so that outlines stay smooth; a tie goes to the smaller label. Voxels that the grid
    does not cover are 0.

    Args:
        mask: (D, H, W) bool or integer labels.
        geometry: geometry of the scan.

    Returns:
        (X, Y, Z) in the dtype of the mask.

    Raises:
        ValueError: the mask has a different shape than the grid, or is of real numbers.
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
    """Resample masks of R regions from the prepared grid to the native grid of the scan.

    Args:
        masks: (R, D, H, W) bool.
        geometry: geometry of the scan.
        exclusive: True if each voxel belongs to at most one region, so that regions compete for it.

    Returns:
        (R, X, Y, Z) bool.
    """
    if not exclusive:
        return np.stack([restore_mask(mask, geometry) for mask in masks])
    labels = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    restored = restore_mask(labels, geometry)
    return np.stack([restored == number for number in range(1, len(masks) + 1)])


def _middle(data: np.ndarray, axis: int) -> float:
    """Return the middle of the nonzero voxels along an axis, in voxels from the edge."""
    plane = tuple(other for other in range(3) if other != axis)
    nonzero = np.flatnonzero(data.any(axis=plane))
    return 0.5 * float(nonzero[0] + nonzero[-1] + 1) if len(nonzero) else 0.5 * data.shape[axis]


def restore_values(values: np.ndarray, valid: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Resample numbers from a multiple of the prepared grid to the native grid of the scan.

    Values are interpolated linearly between the centres of valid cells, and are 0 where less than half of the
    weight is valid.

    Args:
        values: (d, h, w) float32, cells that divide the box of the prepared grid, such as patches.
        valid: (d, h, w) bool, True for the cells to use.
        geometry: geometry of the scan.

    Returns:
        (X, Y, Z) float32.
    """
    cells = np.array(values.shape)[np.argsort(geometry.axes)]
    sizes = zip(geometry.shape, cells, geometry.stored_windows, strict=True)
    a, b, c = (
        (float(-start * count / covered), float(length * count / covered))
        for length, count, (start, covered) in sizes
    )
    total, weight = (
        resample(np.ascontiguousarray(geometry.to_stored(part.astype(np.float32))), geometry.shape, (a, b, c))
        for part in (values * valid, valid)
    )
    return np.where(weight >= 0.5, total / np.maximum(weight, 0.5), np.float32(0))


def _furthest_corner(one: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> float:
    """Return the largest distance [mm] of a volume's corners between two affines."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((one - other) @ corners)[:3], axis=0).max())
