"""Map a scan's patch tokens: principal components, cosine to a patch and to the CLS token."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from braindino.analysis.figures.slice_view import SliceView
from braindino.analysis.principal_components import principal_components
from braindino.analysis.similarity import cosine_to
from braindino.encoders.base import Encoder
from braindino.encoders.cache import Level, patch_grid
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store

COMPONENT_COUNT = 3
LEVELS: tuple[Level, Level] = ("slice", "patch")
UNPLACED = ("none", "analyze")  # sources of an affine that do not distinguish left from right


@dataclass(frozen=True)
class ScanMaps:
    """Maps of a scan of D slices in h x w patches; 0 where a patch shows mostly background.

    Attributes:
        slices: input of the encoder (D, H, W) float32.
        foreground: patches that show mostly foreground (D, h, w) bool.
        components: principal components, whitened over the foreground (D, h, w, 3) float32.
        cls: cosine of each patch with the CLS token of its slice (D, h, w) float32.
        similarity: cosine of each patch with the reference patch (D, h, w) float32.
        reference: slice, row and column of the reference patch.
    """

    slices: np.ndarray
    foreground: np.ndarray
    components: np.ndarray
    cls: np.ndarray
    similarity: np.ndarray
    reference: tuple[int, int, int]


def scan_maps(
    encoder: Encoder,
    store: Store,
    key: str,
    reference: tuple[float, float, float] | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    progress: bool = False,
) -> ScanMaps:
    """Compute the maps of a scan in `store`; tokens are cached in the store.

    Args:
        encoder: 2-D, with patch tokens.
        store: prepared with the encoder's contract.
        key: key of the scan.
        reference: position of the reference patch in prepared voxels (slice, row, column); by default the
            patch in the middle of the middle slice's foreground.
        batch_size: slices per forward.
        device: where the encoder runs.
        progress: show on stderr that features are computed.

    Raises:
        BraindinoError: an encoder without patch tokens, a scan without foreground, or a reference outside of
            the prepared slices.
    """
    if encoder.dimensions != 2:
        raise BraindinoError(
            f"{type(encoder).__name__} encodes whole scans and has no patch tokens of slices."
        )
    rows, columns = patch_grid(encoder)
    options: dict[str, Any] = {"batch_size": batch_size, "device": device, "progress": progress}
    cls_tokens, patches = (
        extract(encoder, store, [key], store.path / "features", level=level, **options)[key].float().numpy()
        for level in LEVELS
    )
    patches = patches.reshape(len(patches), rows, columns, encoder.embed_dim)
    sidecar = store.sidecar(key)
    slices = decode(np.array(store.slices(key)), sidecar["scale"], sidecar["zero_point"])
    foreground = foreground_patches(slices, store.contract, (rows, columns))
    if not foreground.any():
        raise BraindinoError(f"{sidecar['source']}: no patch of it shows more foreground than background.")
    if reference is None:
        place = _middle(foreground)
    else:
        place = _patch_at(reference, slices.shape, encoder.patch_size or 1)
    components = np.zeros((*foreground.shape, COMPONENT_COUNT), np.float32)
    components[foreground] = principal_components(patches[foreground], COMPONENT_COUNT)
    return ScanMaps(
        slices=slices,
        foreground=foreground,
        components=components,
        cls=cosine_to(patches, cls_tokens[:, None, None]) * foreground,
        similarity=cosine_to(patches, patches[place]) * foreground,
        reference=place,
    )


def slice_view(store: Store, key: str) -> SliceView:
    """Return how to draw slices of a stored scan; sides are marked if its header has them."""
    placed = store.sidecar(key).get("affine_source") not in UNPLACED
    return SliceView.of(store.geometry(key).grid_affine, placed)


def foreground_patches(slices: np.ndarray, contract: Preprocessing, grid: tuple[int, int]) -> np.ndarray:
    """Return True for each patch that shows mostly foreground.

    Args:
        slices: slices of one scan or several (D, H, W).
        contract: contract of the slices.
        grid: rows and columns of patches in a slice.

    Returns:
        (D, h, w) bool.
    """
    # Contracts without a zero background have the least value there.
    background = 0.0 if contract.zero_background else slices.min(axis=(1, 2), keepdims=True)
    tall, wide = slices.shape[1] // grid[0], slices.shape[2] // grid[1]
    foreground = (slices != background).reshape(len(slices), grid[0], tall, grid[1], wide)
    mostly: np.ndarray = foreground.mean(axis=(2, 4)) > 0.5
    return mostly


def _middle(foreground: np.ndarray) -> tuple[int, int, int]:
    """Return the foreground patch nearest to the centre of the foreground, in its middle slice."""
    planes = np.flatnonzero(foreground.any(axis=(1, 2)))
    i = int(planes[len(planes) // 2])
    places = np.argwhere(foreground[i])
    row, column = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()]
    return i, int(row), int(column)


def _patch_at(
    position: tuple[float, float, float], shape: tuple[int, ...], side: int
) -> tuple[int, int, int]:
    """Return the slice, row and column of the patch at a position in prepared voxels."""
    nearest = [round(value) for value in position]
    if any(not 0 <= value < length for value, length in zip(nearest, shape, strict=True)):
        raise BraindinoError(
            "the reference lies outside of the prepared slices: slice, row, column "
            f"{nearest} of {list(shape)}."
        )
    return nearest[0], nearest[1] // side, nearest[2] // side
