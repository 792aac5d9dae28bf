"""Compute the surface Dice of two masks at a tolerance in mm (NSD)."""

from functools import cache
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from braindino.errors import BraindinoError

TOLERANCE = 2.0  # mm
Mask = NDArray[np.bool_]

# Surface elements of the 2 x 2 x 2 voxels around a corner, as DeepMind's `surface-distance` 0.1 has them (by
# marching cubes; Apache 2.0). The key has a bit per voxel, that of (0, 0, 0) first; the triples are sizes of
# the triangles' normals along each axis, in eighths of the product of the other two spacings. The other codes
# are rotations, reflections and complements of these.
TRIANGLES = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0), (2, 2, 0)),
    0b00000110: ((1, 1, 1), (1, 1, 1)),
    0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    0b00001111: ((4, 0, 0), (4, 0, 0)),
    0b00010110: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    0b00010111: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    0b00011000: ((1, 1, 1), (1, 1, 1)),
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00011011: ((0, 2, 2), (2, 0, 2), (1, 1, 1), (3, 3, 3)),
    0b00011110: ((4, 0, 0), (1, 1, 1), (1, 1, 1), (2, 2, 2)),
    0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    0b01101001: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}
INSIDE = 0b11111111
# Spacings of float32 headers are exact to 1e-7; a distance of two voxels of 1 mm is within 2 mm.
SLACK = 1e-5


def check_tolerance(tolerance: float) -> float:
    """Return the tolerance of the surface Dice, or raise BraindinoError if it is no distance.

    Args:
        tolerance: distance up to which surfaces agree [mm].
    """
    if not 0 <= tolerance < float("inf"):
        raise BraindinoError(f"nsd_tolerance {tolerance}: expected a distance in mm, 0 or more.")
    return tolerance


def surface_dice(predicted: Mask, truth: Mask, spacing: NDArray[np.floating[Any]], tolerance: float) -> float:
    """Return the share of both surfaces' area that is at most `tolerance` away from the other surface.

    It is `compute_surface_dice_at_tolerance` of DeepMind's package `surface-distance` (Nikolov et al. 2021,
    doi 10.2196/26151), which fails on empty masks with numpy 2. MONAI's
    `compute_surface_dice(use_subvoxels=True)` is the same in float32, on torch, with a warning in every call.

    Args:
        predicted: (X, Y, Z) bool.
        truth: (X, Y, Z) bool, in the same space.
        spacing: (3,) size of a voxel [mm].
        tolerance: largest distance of surfaces that agree [mm].

    Returns:
        0 to 1; NaN if both masks are empty, 0 if one is.
    """
    codes = [_corner_codes(mask) for mask in (predicted, truth)]
    areas = _areas(spacing)
    surfaces = [(code != 0) & (code != INSIDE) for code in codes]
    total = within = 0.0
    for index in (0, 1):
        surface, other = surfaces[index], surfaces[1 - index]
        total += float(areas[codes[index][surface]].sum())
        within += float(areas[codes[index][surface & other]].sum())
        apart = np.argwhere(surface & ~other)
        near = _within(apart, np.argwhere(other), spacing, tolerance)
        within += float(areas[codes[index][tuple(apart[near].T)]].sum())
    # The order of the sums may add a last bit.
    return min(within / total, 1.0) if total else float("nan")


def _corner_codes(mask: Mask) -> NDArray[np.uint8]:
    """Return the code of the 2 x 2 x 2 voxels around every corner of voxels, (X + 1, Y + 1, Z + 1)."""
    padded = np.pad(mask, 1).view(np.uint8)
    x, y, z = (size + 1 for size in mask.shape)
    codes = np.zeros((x, y, z), dtype=np.uint8)
    for bit, (i, j, k) in enumerate(product((0, 1), repeat=3)):
        codes |= padded[i : i + x, j : j + y, k : k + z] << np.uint8(7 - bit)
    return codes


def _within(
    points: NDArray[np.int64],
    surface: NDArray[np.int64],
    spacing: NDArray[np.floating[Any]],
    tolerance: float,
) -> Mask:
    """Return whether each of the points (N, 3) is at most `tolerance` away from a surface point (M, 3)."""
    if not len(points) or not len(surface):
        return np.zeros(len(points), dtype=bool)
    # The points lie on a grid, for which a balanced tree takes longer to build than it saves.
    tree = KDTree(surface * spacing, balanced_tree=False, compact_nodes=False)
    distance, _ = tree.query(points * spacing, distance_upper_bound=tolerance * (1 + SLACK))
    near: Mask = np.isfinite(distance)
    return near


def _areas(spacing: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the area (256,) of the surface elements of every code, in the unit of `spacing` squared."""
    faces = np.prod(spacing) / spacing
    areas: NDArray[np.float64] = np.linalg.norm(_normals() * faces, axis=2).sum(axis=1)
    return areas


@cache
def _normals() -> NDArray[np.float64]:
    """Return the sizes of normals (256, 4, 3) along each axis, 0 where a code has fewer triangles."""
    normals = np.zeros((256, 4, 3))
    for code, triangles in TRIANGLES.items():
        cube = np.unpackbits(np.array([code], dtype=np.uint8)).reshape(2, 2, 2)
        for axes in permutations(range(3)):
            turned = np.array(triangles)[:, axes] / 8
            for flips in product((1, -1), repeat=3):
                x, y, z = flips
                mirrored = int(np.packbits(cube.transpose(axes)[::x, ::y, ::z])[0])
                normals[[mirrored, INSIDE - mirrored], : len(turned)] = turned
    return normals
