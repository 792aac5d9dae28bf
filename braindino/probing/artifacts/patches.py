"""Patch tokens of a few test scans in colours, kept with a study for the report."""

import io
from pathlib import Path

import numpy as np
import torch

from braindino.analysis.figures.slice_view import views_to_arrays
from braindino.analysis.principal_components import principal_colours
from braindino.encoders.base import Encoder
from braindino.encoders.maps import held_patches, slice_view
from braindino.files import atomic_write
from braindino.probing.data.cases import ProbeCases
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store
from braindino.scans.subset import evenly_spaced

PATCHES = "patches.npz"
SHOWN = 6


def keep_patch_colours(folder: Path, encoder: Encoder, cases: ProbeCases, store: Store) -> None:
    """Write `patches.npz`: the middle slice of scans of test cases, evenly spaced over these.

    Arrays, a row per scan: `case`, `slice` (its number), `image` (N, H, W) z-scored, `held` (N, h, w), the
    patches that show more foreground than background, and `colours` (N, h, w, 3) in 0-1, the first three
    principal components of their last tokens over all N together (the pictures of DINOv2 and DINOv3); and
    how the slices lie (`views_to_arrays`).

    Nothing is written for an encoder without patch tokens, and nothing anew.
    """
    if encoder.dimensions != 2 or encoder.patch_size is None or (folder / PATCHES).exists():
        return
    tested = cases.part("test") if cases.folds is None else cases.table
    chosen = tested.iloc[np.unique(evenly_spaced(len(tested), SHOWN))]
    images, numbers, views = [], [], []
    for row in chosen.to_dict("records"):
        key = next(row[f"key_{name}"] for name in cases.modalities if row[f"key_{name}"])
        known = store.sidecar(key)
        numbers.append((known["first"] + known["last"]) // 2)
        views.append(slice_view(store, key))
        images.append(decode(store.slice(key, numbers[-1]).copy(), known["scale"], known["zero_point"]))
    slices = np.stack(images)
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        tokens = encoder.patch_maps(torch.from_numpy(slices)[:, None].to(device), [-1])[0]
    patches = tokens.movedim(1, -1).float().cpu().numpy()
    held = held_patches(slices, store.contract, patches.shape[1:3])
    colours = principal_colours(patches, held) if held.any() else np.zeros((*held.shape, 3))
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        case=chosen["case"].to_numpy(str),
        slice=np.array(numbers),
        image=slices.astype(np.float16),
        held=held,
        colours=colours.astype(np.float16),
        **views_to_arrays(views),
    )
    with atomic_write(folder / PATCHES, "wb") as file:
        file.write(buffer.getbuffer())
