"""Write volumes as NIfTI."""

import gzip
from pathlib import Path

import numpy as np

from braindino.files import atomic_write


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write a compressed NIfTI-1 in mm atomically; equal values give equal bytes.

    Args:
        path: file to write.
        values: (X, Y, Z) or (X, Y, Z, N).
        affine: (4, 4), voxel -> mm; written as sform and, without its shears, as qform.
    """
    import nibabel

    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    with atomic_write(path, "wb") as file:
        file.write(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
