"""Masks in the scan's own space, and how they compare with those that were drawn: Dice, HD95, volumes."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt
from torch import Tensor

from braindino.probing.module import FrozenProbeModule
from braindino.probing.segmentation.head import SegmentationHead
from braindino.probing.segmentation.slices import CaseSlices, MaskedCases
from braindino.scans.geometry import Geometry, restore_mask

PERCENTILE = 95


def case_masks(
    module: FrozenProbeModule, slices: Tensor, step: Tensor, zero: Tensor, present: Tensor, geometry: Geometry
) -> dict[str, np.ndarray]:
    """The masks that a trained probe draws on one prepared case, in the scan's own space.

    Args:
        module: with a `SegmentationHead`, in evaluation mode, its encoder and itself on one device.
        slices: (M, D, H, W) as the store holds them, in the order of the modalities the probe was trained on.
        step, zero, present: (M,) how to decode them, and which are there.
        geometry: the way back of the scan whose space is wanted.

    Returns:
        region -> (X, Y, Z) bool.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    planes = slices.transpose(0, 1)
    drawn = []
    with torch.inference_mode():
        for chunk in planes.split(module.step_size(len(planes))):
            batch = {"slices": chunk, "step": step, "zero": zero, "present": present}
            batch |= {name: batch[name].expand(len(chunk), -1) for name in ("step", "zero", "present")}
            output = module.answer({name: value.to(module.device) for name, value in batch.items()})
            drawn.append(head.decide(output).cpu())
    masks = in_scan_space(torch.cat(drawn).transpose(0, 1).numpy(), geometry, head.exclusive)
    return dict(zip(head.regions, masks, strict=True))


def in_scan_space(masks: np.ndarray, geometry: Geometry, exclusive: bool) -> np.ndarray:
    """Masks (R, D, H, W) bool on the prepared grid -> (R, X, Y, Z) bool on the scan's own.

    exclusive: regions compete for each voxel on the way, so that they stay apart.
    """
    if not exclusive:
        return np.stack([restore_mask(mask, geometry) for mask in masks])
    labels = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    restored = restore_mask(labels, geometry)
    return np.stack([restored == number for number in range(1, len(masks) + 1)])


def measure(
    predicted: np.ndarray, truth: np.ndarray, affine: np.ndarray
) -> tuple[float, float, float, float]:
    """Dice, HD95 (mm), true and predicted volume (ml) of two masks (X, Y, Z) bool in one space.

    Where both are empty Dice is 1, where one of them is it is 0; of both HD95 is NaN.

    Args:
        affine: (4, 4) voxel -> mm.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    millilitre = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    volumes = int(truth.sum()), int(predicted.sum())
    total = sum(volumes)
    dice = 2 * int((predicted & truth).sum()) / total if total else 1.0
    distance = hausdorff_95(predicted, truth, spacing) if all(volumes) else float("nan")
    return dice, distance, volumes[0] * millilitre, volumes[1] * millilitre


def hausdorff_95(one: np.ndarray, other: np.ndarray, spacing: np.ndarray) -> float:
    """The larger of both directions' 95th percentile of distances between surfaces, in the unit of `spacing`.

    As MONAI's compute_hausdorff_distance, which works in float32 and warns of itself in every call; neither
    mask may be empty.
    """
    either = np.argwhere(one | other)
    box = tuple(
        slice(low, high + 1) for low, high in zip(either.min(axis=0), either.max(axis=0), strict=True)
    )
    # Outside of the box both are empty; what touches its side is surface, as at the side of the volume.
    surfaces = [mask[box] & ~binary_erosion(mask[box]) for mask in (one, other)]
    directed = []
    for here, there in (surfaces, surfaces[::-1]):
        away = distance_transform_edt(~there, sampling=spacing)
        directed.append(float(np.percentile(away[here], PERCENTILE)))
    return max(directed)


def measure_cases(module: FrozenProbeModule, data: CaseSlices, cases: Tensor) -> Tensor:
    """(N, R, 4) float64: what `measure` says of the regions of the cases numbered `cases` (N,).

    Masks go back and are compared in `jobs` threads of the data module while the next case is predicted.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    masked = data.masked
    jobs = masked.datamodule.jobs
    found: list[np.ndarray] = []
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(jobs) as threads:
        for case, masks in _predicted(module, head, data, cases):
            waiting.append(threads.submit(_measure_case, masked, case, masks, head.exclusive))
            while len(waiting) > 2 * jobs:  # so that no more masks than that lie in memory
                found.append(waiting.popleft().result())
        found += [future.result() for future in waiting]
    return torch.from_numpy(np.stack(found))


def _predicted(
    module: FrozenProbeModule, head: SegmentationHead, data: CaseSlices, cases: Tensor
) -> Iterator[tuple[int, np.ndarray]]:
    """Each case and its masks (R, D, H, W) bool on the prepared grid."""
    planes: list[Tensor] = []
    for batch in data.loader(cases, module.step_size(len(cases))):
        output = module.answer({name: value.to(module.device) for name, value in batch.items()})
        for case, mask in zip(batch["case"].tolist(), head.decide(output).cpu(), strict=True):
            planes.append(mask)
            if len(planes) == len(data.masked.masks[case]):
                yield case, torch.stack(planes, dim=1).numpy()
                planes = []


def _measure_case(masked: MaskedCases, case: int, masks: np.ndarray, exclusive: bool) -> np.ndarray:
    key = next(key for key in masked.keys[case] if key)
    geometry = masked.store.geometry(key)
    drawn = masked.datamodule.labels_of(masked.rows[case])
    truth = masked.membership.numpy()[drawn.data.astype(np.uint8)]
    predicted = in_scan_space(masks, geometry, exclusive)
    return np.array(
        [measure(mask, truth[..., region], drawn.affine) for region, mask in enumerate(predicted)]
    )
