"""Masks in the scan's own space, and how they compare with those that were drawn: Dice, HD95, volumes."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from braindino.analysis.metrics.mask_metrics import segmentation_row
from braindino.errors import NotFiniteError
from braindino.probing.data.slices import CaseSlices, MaskedCases
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
    """The masks that a trained probe draws on one prepared case, in the scan's own space.

    Args:
        module: with a `SegmentationHead`, in evaluation mode, its encoder and itself on one device.
        slices: (M, D, H, W) as the store holds them, in the order of the modalities the probe was trained on.
        scale, zero_point, present: (M,) how to decode them, and which are there.
        geometry: the way back of the scan whose space is wanted.

    Returns:
        region -> (X, Y, Z) bool.

    Raises:
        NotFiniteError: what the encoder or the decoder makes of the case is not finite.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    planes = slices.transpose(0, 1)
    drawn = []
    with torch.inference_mode():
        for chunk in planes.split(module.step_size(len(planes))):
            batch = {"slices": chunk, "scale": scale, "zero_point": zero_point, "present": present}
            batch |= {name: batch[name].expand(len(chunk), -1) for name in ("scale", "zero_point", "present")}
            output = module.answer({name: value.to(module.device) for name, value in batch.items()})
            if not output.isfinite().all():
                raise NotFiniteError("what the probe makes of it is not finite")
            drawn.append(head.decide(output).cpu())
    masks = restore_regions(torch.cat(drawn).transpose(0, 1).numpy(), geometry, head.exclusive)
    return dict(zip(head.regions, masks, strict=True))


def measure_cases(module: FrozenProbeModule, data: CaseSlices, cases: Tensor) -> Tensor:
    """(N, R, 7) float64: what `row_of` says of the regions of the cases numbered `cases` (N,).

    Masks go back and are compared in `jobs` threads of the data module while the next case is predicted.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    masked = data.masked
    jobs = masked.datamodule.jobs
    found: list[np.ndarray] = []
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(jobs) as threads:
        drawn = _predicted(module, head, data, cases)
        for case, masks in track(drawn, len(cases), "measure", data.progress, unit="case"):
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
    predicted = restore_regions(masks, geometry, exclusive)
    return np.array(
        [segmentation_row(mask, truth[..., region], drawn.affine) for region, mask in enumerate(predicted)]
    )
