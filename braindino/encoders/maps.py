"""Maps of one scan's patch tokens: principal components, likeness to a patch, likeness to the CLS token."""

from dataclasses import dataclass

import numpy as np

from braindino.analysis.figures.slice_view import SliceView
from braindino.analysis.principal_components import principal_components
from braindino.analysis.similarity import cosine_to
from braindino.encoders.base import Encoder
from braindino.encoders.cache import patch_grid
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store

COMPONENTS = 3
UNPLACED = ("none", "analyze")  # sources of an affine that do not say which side is left


@dataclass(frozen=True)
class Maps:
    """Of a scan of D slices in h x w patches; everything is 0 where a patch shows mostly background.

    held: (D, h, w) bool, patches that count. components: (D, h, w, 3), whitened over them. cls: (D, h, w),
    cosine of each patch with its slice's CLS token. similarity: (D, h, w), cosine with the `reference` patch
    (slice, row, column).
    """

    slices: np.ndarray  # (D, H, W) float32, as the encoder sees them
    held: np.ndarray
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
) -> Maps:
    """The maps of a scan in `store`; tokens are kept in the store's cache.

    Args:
        reference: position of the reference in prepared voxels (slice, row, column); by default the patch in
            the middle of the middle slice's foreground.

    Raises:
        BraindinoError: an encoder without patch tokens, or a reference outside of the prepared box.
    """
    if encoder.dimensions != 2:
        raise BraindinoError(
            f"{type(encoder).__name__} encodes whole scans and has no patch tokens of slices."
        )
    rows, columns = patch_grid(encoder)
    tokens = {
        level: extract(
            encoder, store, [key], store.path / "features", batch_size=batch_size, device=device,
            progress=progress, level=level,
        )[key].float().numpy()
        for level in ("slice", "patch")
    }  # fmt: skip
    patches = tokens["patch"].reshape(len(tokens["patch"]), rows, columns, encoder.embed_dim)
    sidecar = store.sidecar(key)
    slices = decode(np.array(store.slices(key)), sidecar["scale"], sidecar["zero_point"])
    side = encoder.patch_size or 1
    held = held_patches(slices, store.contract, (rows, columns))
    if not held.any():
        raise BraindinoError(f"{sidecar['source']}: no patch of it shows more foreground than background.")
    place = _middle(held) if reference is None else _patch_at(reference, slices.shape, side)
    components = np.zeros((*held.shape, COMPONENTS), np.float32)
    components[held] = principal_components(patches[held], COMPONENTS)
    return Maps(
        slices=slices,
        held=held,
        components=components,
        cls=cosine_to(patches, tokens["slice"][:, None, None]) * held,
        similarity=cosine_to(patches, patches[place]) * held,
        reference=place,
    )


def slice_view(store: Store, key: str) -> SliceView:
    """Return how the slices of a stored scan are shown; sides are marked where its header tells them."""
    placed = store.sidecar(key).get("affine_source") not in UNPLACED
    return SliceView.of(store.geometry(key).grid_affine, placed)


def held_patches(slices: np.ndarray, contract: Preprocessing, grid: tuple[int, int]) -> np.ndarray:
    """Which patches of slices (D, H, W), of one scan or several, show mostly foreground: (D, h, w) bool."""
    # where the background is not 0 it is the least of the values
    background = 0.0 if contract.zero_background else slices.min(axis=(1, 2), keepdims=True)
    tall, wide = slices.shape[1] // grid[0], slices.shape[2] // grid[1]
    foreground = (slices != background).reshape(len(slices), grid[0], tall, grid[1], wide)
    held: np.ndarray = foreground.mean(axis=(2, 4)) > 0.5
    return held


def _middle(held: np.ndarray) -> tuple[int, int, int]:
    """The held patch nearest to the centre of the foreground, in the slice in its middle."""
    planes = np.flatnonzero(held.any(axis=(1, 2)))
    i = int(planes[len(planes) // 2])
    places = np.argwhere(held[i])
    row, column = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()]
    return i, int(row), int(column)


def _patch_at(
    position: tuple[float, float, float], shape: tuple[int, ...], side: int
) -> tuple[int, int, int]:
    nearest = [round(value) for value in position]
    if any(not 0 <= value < length for value, length in zip(nearest, shape, strict=True)):
        raise BraindinoError(
            "the reference lies outside of the prepared slices: slice, row, column "
            f"{nearest} of {list(shape)}."
        )
    return nearest[0], nearest[1] // side, nearest[2] // side
