"""`patches.npz` of a run: patch tokens of a few test scans as colours, for the report."""

import io
from pathlib import Path

import numpy as np
import torch

from braindino.analysis.figures.slice_view import views_to_arrays
from braindino.analysis.principal_components import principal_colours
from braindino.encoders.base import Encoder
from braindino.encoders.maps import foreground_patches, slice_view
from braindino.files import atomic_write
from braindino.probing.data.cases import ProbeCases
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store
from braindino.scans.subset import evenly_spaced

PATCHES = "patches.npz"
SHOWN = 6  # scans


def write_patch_colours(folder: Path, encoder: Encoder, cases: ProbeCases, store: Store) -> None:
    """Write `patches.npz`: middle slices of some test cases, with their patch tokens as colours.

    The arrays have a row per scan: `case`; `slice`, its number; `image` (N, H, W), z-scored; `held`
    (N, h, w), whether a patch has more foreground than background; `colours` (N, h, w, 3) in 0-1, the first
    three principal components of the last tokens over all N scans (as in the figures of DINOv2 and DINOv3);
    and the orientation of the slices (`views_to_arrays`).

    Nothing is written if the encoder has no patch tokens, or the file exists.

    Args:
        folder: run folder.
        encoder: the encoder.
        cases: all cases of the study; the test cases are sampled at even distances.
        store: store that contains the scans.
    """
    if encoder.dimensions != 2 or encoder.patch_size is None or (folder / PATCHES).exists():
        return
    tested = cases.part("test") if cases.folds is None else cases.table
    chosen = tested.iloc[np.unique(evenly_spaced(len(tested), SHOWN))]
    images, numbers, views = [], [], []
    for row in chosen.to_dict("records"):
        key = next(row[f"key_{name}"] for name in cases.modalities if row[f"key_{name}"])
        sidecar = store.sidecar(key)
        numbers.append((sidecar["first"] + sidecar["last"]) // 2)
        views.append(slice_view(store, key))
        images.append(decode(store.slice(key, numbers[-1]).copy(), sidecar["scale"], sidecar["zero_point"]))
    slices = np.stack(images)
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        tokens = encoder.patch_maps(torch.from_numpy(slices)[:, None].to(device), [-1])[0]
    patches = tokens.movedim(1, -1).float().cpu().numpy()
    foreground = foreground_patches(slices, store.contract, patches.shape[1:3])
    if foreground.any():
        colours = principal_colours(patches, foreground)
    else:
        colours = np.zeros((*foreground.shape, 3))
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        case=chosen["case"].to_numpy(str),
        slice=np.array(numbers),
        image=slices.astype(np.float16),
        held=foreground,
        colours=colours.astype(np.float16),
        **views_to_arrays(views),
    )
    with atomic_write(folder / PATCHES, "wb") as file:
        file.write(buffer.getbuffer())
