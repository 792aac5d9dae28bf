"""Slices with masks in memory, and a short training of a segmentation probe on them."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from braindino.datasets.masks import region_membership
from braindino.encoders.base import Encoder
from braindino.encoders.vit import ViTEncoder
from braindino.probing import FrozenProbeModule, SegmentationHead
from braindino.probing.data.base import Batch
from braindino.probing.data.slices import decoder_shape
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import tiny_encoder

REGIONS: Mapping[str, tuple[int, ...]] = {"lesion": (1, 2)}
OVERLAPPING: Mapping[str, tuple[int, ...]] = {"whole": (1, 2), "core": (2,)}


def dense_encoder(size: tuple[int, int] = (32, 32), seed: int = 0, **changes: Any) -> ViTEncoder:
    """Return a ViT of four blocks of width 48 for slices of a size."""
    return tiny_encoder(Preprocessing(depth=8, size=size), seed, **{"depth": 4, "in_chans": 3, **changes})


def drawn_slices(
    count: int = 4, size: tuple[int, int] = (32, 32), modalities: int = 1, block: int = 1, seed: int = 0
) -> Batch:
    """Return slices of noise with a bright ellipse (label 1) that has a dark part (label 2).

    Args:
        count: number of slices, each of another case.
        size: rows and columns.
        modalities: scans per case; the ellipse is seen in the first, its dark part in the last.
        block: side of the squares that ellipse and labels consist of [pixels].
        seed: seed of noise and places.

    Returns:
        a batch, as `CaseSlices` yields them.
    """
    random = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(*(torch.arange(side // block) for side in size), indexing="ij")
    side = min(size) / block
    target = torch.zeros(count, *rows.shape, dtype=torch.uint8)
    for labels in target:
        place = torch.rand(2, generator=random) * 0.3 + 0.35
        away = (rows - place[0] * rows.shape[0]) ** 2 + 1.5 * (columns - place[1] * rows.shape[1]) ** 2
        labels[away < (0.27 * side) ** 2] = 1
        labels[away < (0.13 * side) ** 2] = 2
    target = target.repeat_interleave(block, 1).repeat_interleave(block, 2)
    slices = 90 + 12 * torch.randn(count, modalities, *size, generator=random)
    slices[:, 0] += 60 * (target > 0)
    slices[:, -1] -= 90 * (target == 2)
    return {
        "slices": slices.clamp(1, 255).to(torch.uint8),
        "scale": torch.full((count, modalities), 1 / 30),
        "zero_point": torch.full((count, modalities), 90.0),
        "present": torch.ones(count, modalities, dtype=torch.bool),
        "target": target,
        "case": torch.arange(count),
        "slice": torch.zeros(count, dtype=torch.long),
    }


class BatchData:
    """One batch of slices as the data of a probe; see `CaseData`.

    Args:
        batch: the batch.
        encoder: the encoder.
        regions: name of a region -> its labels.
    """

    def __init__(
        self, batch: Batch, encoder: Encoder, regions: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        self.batch, self.regions = batch, regions or REGIONS
        self.encoder: Encoder | None = encoder
        self.shape = decoder_shape(encoder, batch["slices"].shape[-3])

    def train_target(self, cases: Tensor) -> Tensor:
        return torch.from_numpy(region_membership(self.regions))

    def sample(self, cases: Tensor) -> Iterable[Batch]:
        return [self.batch]

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> Iterable[Batch]:
        return [self.batch]


def built_probe(
    decoder: Any,
    batch: Batch,
    encoder: Encoder | None = None,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    **options: Any,
) -> FrozenProbeModule:
    """Return an untrained probe with a decoder, in evaluation mode.

    Args:
        decoder: name of the decoder.
        batch: the slices, from which the tokens are standardised.
        encoder: the encoder; that of `dense_encoder` if omitted.
        regions: name of a region -> its labels.
        **options: arguments of `SegmentationHead`.
    """
    torch.manual_seed(0)
    encoder = encoder or dense_encoder((batch["slices"].shape[-2], batch["slices"].shape[-1]))
    module = FrozenProbeModule(
        "tiny",
        SegmentationHead(decoder=decoder, **options),
        augment=False,
    )
    module.resolve(encoder)
    data = BatchData(batch, encoder, regions)
    module.build(data, torch.arange(len(batch["case"])), tuple(data.regions))
    return module.eval()


def fit(module: FrozenProbeModule, batch: Batch, steps: int, lr: float) -> None:
    """Train a probe on one batch by AdamW, and switch it to evaluation mode."""
    module.train()
    settings = module.optimizer_settings
    optimiser = torch.optim.AdamW(module.parameters(), lr=lr, betas=settings.betas, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    for step in range(steps):
        optimiser.zero_grad()
        module.training_step(batch, step).backward()
        optimiser.step()
        decay.step()
    module.eval()


def dice(module: FrozenProbeModule, batch: Batch) -> float:
    """Return the mean Dice over cases and regions of a probe in evaluation mode."""
    assert isinstance(module.head, SegmentationHead)
    with torch.inference_mode():
        output = module.forward_batch(batch)
        return module.head.scores(module.head.evidence(output, batch["target"], batch["case"]))["dice"]
