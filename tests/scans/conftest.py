"""Provide small heads and ways to save them."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from braindino.scans.reading import Scan


@pytest.fixture
def head() -> Callable[..., np.ndarray]:
    """Return a function that makes an ellipsoid with texture and a bright spot, in RAS on background 0."""

    def make(shape: tuple[int, int, int] = (20, 24, 16), seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        x, y, z = (np.linspace(-1, 1, n) for n in shape)
        radius = np.sqrt((x[:, None, None] / 0.8) ** 2 + (y[:, None] / 0.9) ** 2 + (z / 0.85) ** 2)
        values = 400 + 300 * np.cos(3 * radius) + rng.normal(0, 20, shape)
        values += 500 * np.exp(
            -20 * ((x[:, None, None] + 0.3) ** 2 + (y[:, None] - 0.4) ** 2 + (z - 0.3) ** 2)
        )
        return np.where(radius < 1, np.maximum(values, 1), 0).astype(np.float32)

    return make


@pytest.fixture
def as_scan() -> Callable[..., Scan]:
    """Return a function that makes a scan of a volume, as `read_scan` does."""

    def make(data: np.ndarray, affine: np.ndarray | None = None) -> Scan:
        volume = np.asfortranarray(data, dtype=np.float32)
        return Scan(volume, np.eye(4) if affine is None else affine, Path("made.nii"), "0" * 64)

    return make


@pytest.fixture
def reoriented() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return a function that stores a head along other axes, with its affine."""

    def make(data: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
        turn = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
        return apply_orientation(data, turn), affine @ inv_ornt_aff(turn, data.shape)

    return make


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that saves a volume as NIfTI-1, with 1 mm voxels by default."""

    def write(name: str, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
        return path

    return write
