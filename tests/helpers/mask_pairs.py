"""Pairs of masks by closed forms, whose measures by other packages are stored in tests."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def lump(shape: Spacing, centre: Spacing, radii: Spacing, waves: float) -> Mask:
    """Return an ellipsoid (X, Y, Z) bool with a wavy surface, all lengths in voxels."""
    x, y, z = np.indices(tuple(int(size) for size in shape))
    parts = [(axis - middle) / radius for axis, middle, radius in zip((x, y, z), centre, radii, strict=True)]
    ripple = 0.23 * np.sin(waves * x + 0.31) * np.sin(waves * y + 1.07) * np.cos(waves * z + 0.53)
    return np.asarray(sum(part**2 for part in parts) + ripple < 1)


def lesions(shape: Spacing, shift: float) -> Mask:
    """Return five lumps of different sizes, shifted by some voxels; two are close to each other."""
    places = [
        ((6.2, 7.1, 4.3), (4.1, 3.2, 2.4)),
        ((20.4, 8.3, 5.2), (5.3, 4.4, 2.9)),
        ((20.1, 21.6, 8.4), (3.1, 3.3, 1.9)),
        ((26.3, 22.2, 8.1), (1.6, 1.9, 1.2)),
        ((8.7, 24.9, 3.6), (1.3, 1.2, 1.1)),
    ]
    masks = [lump(shape, (x + shift, y - shift / 2, z), (a, b, c), 0.9) for (x, y, z), (a, b, c) in places]
    return np.asarray(np.any(masks, axis=0))


def mask_pairs() -> dict[str, tuple[Mask, Mask, Spacing]]:
    """Return name -> predicted mask, true mask, spacing in mm."""
    lesion, nothing = lump((16, 16, 8), (7.3, 8.2, 3.7), (4.2, 5.1, 2.3), 1.3), np.zeros((16, 16, 8), bool)
    missed, false = lesions((32, 32, 12), 0.0), lesions((32, 32, 12), 0.7)
    missed[4:10, 3:11], false[27:31, 1:4, 9:11] = False, True
    third = lump((12, 14, 5), (6.1, 7.2, 2.1), (4.3, 5.4, 9.0), 0.7)
    return {
        "structure": (
            lump((30, 34, 20), (14.6, 16.9, 9.8), (8.3, 10.2, 5.4), 0.8),
            lump((30, 34, 20), (15.1, 16.2, 9.4), (8.9, 9.7, 5.9), 0.6),
            (1.0, 1.0, 1.0),
        ),
        "thick slices": (
            lump((40, 36, 9), (19.2, 18.1, 4.3), (13.2, 9.7, 2.8), 0.4),
            lump((40, 36, 9), (18.4, 18.7, 4.1), (12.1, 10.6, 3.1), 0.5),
            (0.43, 0.57, 6.0),
        ),
        "lesions": (false, missed, (0.9, 1.0, 2.5)),
        "at the border": (third, np.roll(third, 1, axis=2) | (third & (np.arange(5) < 2)), (1.2, 0.8, 3.0)),
        "one slice": (third[:, :, :1], np.roll(third[:, :, :1], 2, axis=1), (0.9, 0.7, 5.0)),
        "equal": (lesion, lesion, (1.0, 1.0, 3.0)),
        "empty prediction": (nothing, lesion, (1.0, 1.0, 3.0)),
    }
