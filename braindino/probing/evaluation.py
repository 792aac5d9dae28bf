"""Predicted masks in the native space of a scan, and their measures: Dice, NSD, HD95, volumes, lesions."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from braindino.analysis.metrics.mask_metrics import segmentation_row
from braindino.errors import NotFiniteError
from braindino.probing.data.slices import CaseSlices, MaskedCases, neighbour_planes
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.progress import track
from braindino.scans.geometry import Geometry, restore_regions


def case_masks(
    module: FrozenProbeModule,
    slices: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    present: Tensor,
    geometry: Geometry,
) -> dict[str, np.ndarray]:
    """Return the masks that a probe predicts for one case, in the native space of a scan.

    Args:
        module: the probe, with a `SegmentationHead`, in evaluation mode, on one device with its encoder.
        slices: (M, D, H, W) as stored, in the order of the modalities of the probe.
        scale: (M,) scale of the stored values.
        zero_point: (M,) stored value of 0.
        present: (M,) whether a modality is present.
        geometry: transform of the scan whose native space the masks are in.

    Returns:
        region -> (X, Y, Z) bool.

    Raises:
        NotFiniteError: the output is not finite.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    planes = slices.transpose(0, 1)
    numbers = neighbour_planes(torch.arange(len(planes)), head.neighbours, len(planes))
    predicted = []
    with torch.inference_mode():
        for chunk in torch.split(numbers, module.step_size(len(planes))):
            batch = {"scale": scale, "zero_point": zero_point, "present": present}
            batch |= {name: batch[name].expand(len(chunk), -1) for name in ("scale", "zero_point", "present")}
            batch |= {"slices": planes[chunk if head.neighbours else chunk[:, 0]], "planes": chunk}
            output = module.forward_batch({name: value.to(module.device) for name, value in batch.items()})
            if not output.isfinite().all():
                raise NotFiniteError("the output of the probe is not finite")
            predicted.append(head.decide(output).cpu())
    masks = restore_regions(torch.cat(predicted).transpose(0, 1).numpy(), geometry, head.exclusive)
    return dict(zip(head.regions, masks, strict=True))


def measure_cases(module: FrozenProbeModule, data: CaseSlices, cases: Tensor) -> Tensor:
    """Return the measures (`segmentation_row`) of every region of some cases, (N, R, 12) float64.

    Masks are resampled and compared in `jobs` threads (of the data module) while the next case is predicted.

    Args:
        module: the trained probe.
        data: the data of all cases.
        cases: (N,) numbers of the cases.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    masked = data.masked
    jobs = masked.datamodule.jobs
    measures: list[np.ndarray] = []
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(jobs) as threads:
        predicted = _predicted(module, head, data, cases)
        for case, masks in track(predicted, len(cases), "measure", data.progress, unit="case"):
            waiting.append(threads.submit(_measure_case, masked, case, masks, head))
            # Limits the number of masks in memory.
            while len(waiting) > 2 * jobs:
                measures.append(waiting.popleft().result())
        measures += [future.result() for future in waiting]
    return torch.from_numpy(np.stack(measures))


def _predicted(
    module: FrozenProbeModule, head: SegmentationHead, data: CaseSlices, cases: Tensor
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each case and its predicted masks (R, D, H, W) bool on the prepared grid."""
    planes: list[Tensor] = []
    for batch in data.loader(cases, module.step_size(len(cases))):
        output = module.forward_batch({name: value.to(module.device) for name, value in batch.items()})
        for case, mask in zip(batch["case"].tolist(), head.decide(output).cpu(), strict=True):
            planes.append(mask)
            if len(planes) == len(data.masked.masks[case]):
                yield case, torch.stack(planes, dim=1).numpy()
                planes = []


def _measure_case(masked: MaskedCases, case: int, masks: np.ndarray, head: SegmentationHead) -> np.ndarray:
    key = next(key for key in masked.keys[case] if key)
    geometry = masked.store.geometry(key)
    drawn = masked.datamodule.labels_of(masked.rows[case])
    truth = masked.membership.numpy()[drawn.data.astype(np.uint8)]
    predicted = restore_regions(masks, geometry, head.exclusive)
    return np.array(
        [
            segmentation_row(mask, truth[..., region], drawn.affine, head.nsd_tolerance)
            for region, mask in enumerate(predicted)
        ]
    )
