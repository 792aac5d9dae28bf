"""`examples.npz` of a cell: slices of the test cases with the best, median and worst Dice."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from braindino.analysis.figures.slice_view import foreground, views_to_arrays
from braindino.encoders.maps import slice_view
from braindino.files import atomic_write
from braindino.probing.data.slices import CaseSlices
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule

EXAMPLES = "examples.npz"


def write_examples(
    folder: Path, module: FrozenProbeModule, data: CaseSlices, cases: pd.DataFrame, tested: pd.DataFrame
) -> None:
    """Write `examples.npz`: per example the slice with the largest true and predicted mask.

    The arrays have a row per example: `place` ("best", ...); `case`; `dice`, the mean over regions; `image`
    (N, H, W) uint8; `truth` and `answer` (N, R, H, W) bool, the true and predicted masks on the prepared
    grid; also `regions` (R,), and the orientation of the slices (`views_to_arrays`).

    Args:
        folder: folder of the cell.
        module: the trained probe, with a `SegmentationHead`.
        data: the data of all cases.
        cases: the test cases, numbered by their index.
        tested: rows of predictions.csv of the test cases.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    chosen = choose_examples(tested)
    numbers = pd.Series(cases.index, index=cases["case"])
    images, truths, predictions, views = [], [], [], []
    for name in chosen["case"]:
        number = int(numbers[name])
        predicted, truth = _predicted(module, head, data, number), _truth(data, number)
        middle = int((predicted.any(axis=0) | truth.any(axis=0)).sum(axis=(1, 2)).argmax())
        key = next(key for key in data.masked.keys[number] if key)
        images.append(_grey(data.masked.store.slice(key, middle), data.masked.scales[key][1]))
        views.append(slice_view(data.masked.store, key))
        truths.append(truth[:, middle])
        predictions.append(predicted[:, middle])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        place=chosen.index.to_numpy(str),
        case=chosen["case"].to_numpy(str),
        dice=chosen["dice"].to_numpy(float),
        image=np.array(images),
        truth=np.array(truths),
        answer=np.array(predictions),
        regions=np.array(head.regions, dtype=str),
        **views_to_arrays(views),
    )
    with atomic_write(folder / EXAMPLES, "wb") as file:
        file.write(buffer.getbuffer())


def choose_examples(tested: pd.DataFrame) -> pd.DataFrame:
    """Return `case` and `dice` of the cases with the best, median and worst Dice.

    Cases with an empty true mask are skipped, unless all masks are empty.

    Args:
        tested: rows of predictions.csv of the test cases.
    """
    scores = tested.groupby("case").agg(dice=("dice", "mean"), true=("true_ml", "sum")).reset_index()
    scores = scores[scores["true"] > 0] if (scores["true"] > 0).any() else scores
    ranked = scores.sort_values(["dice", "case"], ascending=[False, True])
    rows = ranked.iloc[[0, len(ranked) // 2, len(ranked) - 1]]
    return rows.set_index(pd.Index(["best", "median", "worst"]))[["case", "dice"]]


def _predicted(
    module: FrozenProbeModule, head: SegmentationHead, data: CaseSlices, number: int
) -> np.ndarray:
    """Return the predicted masks of a case, (R, D, H, W) bool."""
    planes = []
    with torch.inference_mode():
        for batch in data.loader(torch.tensor([number]), module.step_size(1)):
            output = module.forward_batch({name: value.to(module.device) for name, value in batch.items()})
            planes.append(head.decide(output).cpu())
    return torch.cat(planes).transpose(0, 1).numpy().astype(bool)


def _truth(data: CaseSlices, number: int) -> np.ndarray:
    """Return the true masks of a case, (R, D, H, W) bool."""
    mask = data.masked.masks[number]
    labels = np.stack([mask.slice(i) for i in range(len(mask))])
    return np.moveaxis(data.masked.membership.numpy()[labels], -1, 0)


def _grey(image: np.ndarray, zero_point: float) -> np.ndarray:
    """Return a slice as (H, W) uint8: background 0, foreground 30 to 255 over its own range.

    Args:
        image: (H, W) as stored.
        zero_point: stored value of the background, and of voxels with the mean intensity.
    """
    values, inside = image.astype(np.float32), foreground(image, zero_point)
    if not inside.any():
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(values[inside], (0.5, 99.5))
    shade = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return np.where(inside, 30 + 225 * shade, 0).astype(np.uint8)
