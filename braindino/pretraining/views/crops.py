"""Random resized crops of a whole batch, antialiased, on any device."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

ATTEMPTS = 10  # torchvision's RandomResizedCrop
ASPECT_RATIO = (3 / 4, 4 / 3)
LOG_ASPECT = (math.log(3 / 4), math.log(4 / 3))


@dataclass(frozen=True)
class Boxes:
    """Crops of V views of B slices, in pixels.

    Attributes:
        top: (V, B) first row.
        left: (V, B) first column.
        height: (V, B).
        width: (V, B).
        flip: (V, B) bool, whether left and right are mirrored.
    """

    top: npt.NDArray[np.int_]
    left: npt.NDArray[np.int_]
    height: npt.NDArray[np.int_]
    width: npt.NDArray[np.int_]
    flip: npt.NDArray[np.bool_]


def sample_boxes(
    views: int,
    batch: int,
    size: tuple[int, int],
    scale: tuple[float, float],
    flip: float,
    generator: np.random.Generator,
) -> Boxes:
    """Draw boxes as torchvision's RandomResizedCrop does: uniform area, log-uniform aspect.

    The aspect is from 3/4 to 4/3. A box that does not fit is drawn again; after ten draws the whole slice (at
    most 4:3) is taken.

    Args:
        views: V, views per slice.
        batch: B, number of slices.
        size: rows and columns of the slices.
        scale: smallest and largest area as a share of the slice's.
        flip: probability of a flip.
        generator: draws all numbers.
    """
    rows, columns = size
    shape = (views, batch, ATTEMPTS)
    area = generator.uniform(*scale, shape) * rows * columns
    aspect = np.exp(generator.uniform(*LOG_ASPECT, shape))
    width = np.rint(np.sqrt(area * aspect)).astype(int)
    height = np.rint(np.sqrt(area / aspect)).astype(int)
    fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    first = fits.argmax(axis=2)[..., None]
    some = fits.any(axis=2)
    fallback = min(rows, round(columns / ASPECT_RATIO[0])), min(columns, round(rows * ASPECT_RATIO[1]))
    height = np.where(some, np.take_along_axis(height, first, 2)[..., 0], fallback[0])
    width = np.where(some, np.take_along_axis(width, first, 2)[..., 0], fallback[1])
    return Boxes(
        top=generator.integers(0, rows - height, endpoint=True),
        left=generator.integers(0, columns - width, endpoint=True),
        height=height,
        width=width,
        flip=generator.random((views, batch)) < flip,
    )


def resize_matrix(start: Tensor, length: Tensor, size: int, out: int, longest: int) -> Tensor:
    """Return matrices (N, out, size) that cut a length out of `size` pixels and resize it.

    The weights are those of `F.interpolate(mode="bicubic", antialias=True)` on the cropped signal: Keys'
    cubic with a = -0.5, widened by the reduction factor, cut at the crop's edge and normalised.

    Args:
        start: (N,) first pixel.
        length: (N,) number of pixels.
        size: pixels of the signal.
        out: pixels of the result.
        longest: the largest `length`, known to the host; it bounds the number of weights per output pixel.
    """
    scale = length.float() / out
    widening = scale.clamp(min=1.0)[:, None, None]
    centre = (torch.arange(out, device=start.device) + 0.5) * scale[:, None]
    taps = 2 * int(np.ceil(2 * max(1.0, longest / out))) + 1
    first = (centre - 2 * widening[:, :, 0] + 0.5).floor().long()
    position = first[:, :, None] + torch.arange(taps, device=start.device)
    distance = (position + 0.5 - centre[:, :, None]).div_(widening).abs_()
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weight = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    weight = weight.masked_fill((position < 0) | (position >= length[:, None, None]), 0.0)
    weight /= weight.sum(dim=2, keepdim=True)
    target = (position + start[:, None, None]).clamp_(0, size - 1)
    return weight.new_zeros(len(start), out, size).scatter_add_(2, target, weight)


def crop(slices: Tensor, boxes: Boxes, out: int) -> Tensor:
    """Cut and resize V views of each of B slices.

    Bicubic and antialiased. A CPU is 4 times faster with one call per crop (`benchmarks/views.py`); an
    accelerator would wait for the 10 B calls of a batch, and needs two matrix products for all of them.

    Args:
        slices: (B, H, W) float32.
        boxes: boxes of V views.
        out: side of the views in pixels.

    Returns:
        (V, B, 1, out, out).
    """
    if slices.device.type == "cpu":
        return _one_by_one(slices, boxes, out)
    return crop_by_products(slices, boxes, out)


def _one_by_one(slices: Tensor, boxes: Boxes, out: int) -> Tensor:
    views = slices.new_empty(*boxes.top.shape, 1, out, out)
    for v, b in np.ndindex(boxes.top.shape):
        top, left = boxes.top[v, b], boxes.left[v, b]
        cut = slices[b, top : top + boxes.height[v, b], left : left + boxes.width[v, b]]
        view = F.interpolate(cut[None, None], (out, out), mode="bicubic", antialias=True)
        views[v, b] = view[0].flip(-1) if boxes.flip[v, b] else view[0]
    return views


def crop_by_products(slices: Tensor, boxes: Boxes, out: int) -> Tensor:
    """Crop as `crop` does, by products with a sparse matrix per view from left and right.

    Args:
        slices: (B, H, W) float32.
        boxes: boxes of V views.
        out: side of the views in pixels.

    Returns:
        (V, B, 1, out, out).
    """
    batch, rows, columns = slices.shape
    views = len(boxes.top)

    def matrix(start: npt.NDArray[np.int_], length: npt.NDArray[np.int_], size: int) -> Tensor:
        # slice-major, so that all views of a slice share one product with it
        ends = torch.from_numpy(np.stack([start.T.ravel(), length.T.ravel()])).to(
            slices.device, non_blocking=True
        )
        return resize_matrix(ends[0], ends[1], size, out, int(length.max()))

    vertical = matrix(boxes.top, boxes.height, rows).view(batch, views * out, rows)
    horizontal = matrix(boxes.left, boxes.width, columns)
    flip = torch.from_numpy(boxes.flip.T.ravel().copy()).to(slices.device, non_blocking=True)
    horizontal = torch.where(flip[:, None, None], horizontal.flip(1), horizontal)
    cut = torch.bmm(vertical, slices).view(batch * views, out, columns)
    cut = torch.bmm(cut, horizontal.mT)
    return cut.view(batch, views, 1, out, out).transpose(0, 1).contiguous()
