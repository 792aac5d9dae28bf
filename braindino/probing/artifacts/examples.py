"""A slice of the test cases with the best, the median and the worst Dice, kept with a cell for the report."""

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


def keep_examples(
    folder: Path, module: FrozenProbeModule, data: CaseSlices, cases: pd.DataFrame, tested: pd.DataFrame
) -> None:
    """Write `examples.npz` of a trained probe: of each example the slice where truth and answer are largest.

    Arrays, a row per example: `place` ("best", ...), `case`, `dice` (mean over regions), `image` (N, H, W)
    uint8, `truth` and `answer` (N, R, H, W) bool on the prepared grid; `regions` (R,); and how the slices
    lie (`views_to_arrays`).

    Args:
        cases: the test cases, numbered as in `data`.
        tested: their rows of predictions.csv.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    chosen = choose(tested)
    numbers = pd.Series(cases.index, index=cases["case"])
    images, truths, answers, views = [], [], [], []
    for name in chosen["case"]:
        number = int(numbers[name])
        answer, truth = _answer(module, head, data, number), _truth(data, number)
        middle = int((answer.any(axis=0) | truth.any(axis=0)).sum(axis=(1, 2)).argmax())
        key = next(key for key in data.masked.keys[number] if key)
        images.append(_grey(data.masked.store.slice(key, middle), data.masked.scales[key][1]))
        views.append(slice_view(data.masked.store, key))
        truths.append(truth[:, middle])
        answers.append(answer[:, middle])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        place=chosen.index.to_numpy(str),
        case=chosen["case"].to_numpy(str),
        dice=chosen["dice"].to_numpy(float),
        image=np.array(images),
        truth=np.array(truths),
        answer=np.array(answers),
        regions=np.array(head.regions, dtype=str),
        **views_to_arrays(views),
    )
    with atomic_write(folder / EXAMPLES, "wb") as file:
        file.write(buffer.getbuffer())


def choose(tested: pd.DataFrame) -> pd.DataFrame:
    """`case` and `dice` of "best", "median" and "worst", of cases with something to find (or else of all)."""
    found = tested.groupby("case").agg(dice=("dice", "mean"), true=("true_ml", "sum")).reset_index()
    found = found[found["true"] > 0] if (found["true"] > 0).any() else found
    ranked = found.sort_values(["dice", "case"], ascending=[False, True])
    rows = ranked.iloc[[0, len(ranked) // 2, len(ranked) - 1]]
    return rows.set_index(pd.Index(["best", "median", "worst"]))[["case", "dice"]]


def _answer(module: FrozenProbeModule, head: SegmentationHead, data: CaseSlices, number: int) -> np.ndarray:
    """(R, D, H, W) bool"""
    planes = []
    with torch.inference_mode():
        for batch in data.loader(torch.tensor([number]), module.step_size(1)):
            output = module.answer({name: value.to(module.device) for name, value in batch.items()})
            planes.append(head.decide(output).cpu())
    return torch.cat(planes).transpose(0, 1).numpy().astype(bool)


def _truth(data: CaseSlices, number: int) -> np.ndarray:
    """(R, D, H, W) bool"""
    mask = data.masked.masks[number]
    labels = np.stack([mask.slice(i) for i in range(len(mask))])
    return np.moveaxis(data.masked.membership.numpy()[labels], -1, 0)


def _grey(image: np.ndarray, zero_point: float) -> np.ndarray:
    """Return (H, W) uint8: the background black; all else by its own range, never quite black.

    Args:
        image: (H, W) as stored.
        zero_point: what the background is stored as, and voxels of the mean intensity, too.
    """
    values, shown = image.astype(np.float32), foreground(image, zero_point)
    if not shown.any():
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(values[shown], (0.5, 99.5))
    shade = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return np.where(shown, 30 + 225 * shade, 0).astype(np.uint8)
