"""Volumes on disk as NIfTI."""

import gzip
from pathlib import Path

import numpy as np

from braindino.files import atomic_write


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """A compressed NIfTI-1 of (X, Y, Z) or (X, Y, Z, N) in mm, atomically; equal values give equal bytes.

    affine: (4, 4), voxel -> mm; written as sform and, less its shears, as qform.
    """
    import nibabel

    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    with atomic_write(path, "wb") as file:
        file.write(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
