"""Data of a probe with the encoder in the loop: batches of whole cases, and their features."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Sampler

from braindino.datasets.cases import CaseDataset, collate
from braindino.datasets.loading import Loader, worker_options
from braindino.encoders.base import Encoder
from braindino.probing.data.base import Batch
from braindino.probing.data.cases import ProbeCases
from braindino.scans.store.store import Store


class CaseScans:
    """Load the slices of all scans of a case from the store, batch by batch; see `CaseData`.

    Batches contain "slices" (B, M, D, H, W) as stored, "scale" and "zero_point" (B, M), "mask" (B, M, D) of
    the present slices, "target" and "case".

    Args:
        cases: all cases of the study.
        store: store that contains the scans.
        encoder: the encoder, on its device.
        width: features per slice.
        workers: processes that read.
        progress: show on stderr how many cases are predicted.
    """

    def __init__(
        self,
        cases: ProbeCases,
        store: Store,
        encoder: Encoder,
        width: int,
        workers: int = 0,
        progress: bool = False,
    ) -> None:
        self.progress = progress
        self.encoder: Encoder | None = encoder
        self.target, self.workers = cases.target, workers
        self.shape = {"embed_dim": width, "modalities": len(cases.modalities)}
        self.dataset = CaseDataset(store, cases.table, cases.modalities, (), False)

    def train_target(self, cases: Tensor) -> Tensor:
        """Return the targets of the cases numbered `cases`."""
        return self.target[cases]

    def sample(self, cases: Tensor) -> DataLoader[Any]:
        """Return all slices of the cases numbered `cases`."""
        return self.loader(cases, 1)

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> DataLoader[Any]:
        """Return batches of some cases; a seed in `shuffle` gives another order every epoch."""
        return Loader(
            self.dataset,
            batch_sampler=CaseSampler(cases, batch_size, shuffle),
            collate_fn=self._collate,
            **worker_options(self.workers),
            # Without it each pass would draw from the global random state.
            generator=torch.Generator(),
        )

    def _collate(self, items: list[dict[str, Any]]) -> Batch:
        batch = collate(items)
        batch["mask"] = torch.arange(batch["slices"].shape[2]) < batch["depth"][..., None]
        batch["target"] = self.target[batch["case"]]
        return batch


class CaseSampler(Sampler[list[int]]):
    """Sample numbers of cases in batches.

    Args:
        cases: numbers of the cases.
        batch_size: cases per batch.
        shuffle: seed of the orders, another one every pass; None for the order of `cases`.
    """

    def __init__(self, cases: Tensor, batch_size: int, shuffle: int | None) -> None:
        self.cases, self.batch_size = cases, batch_size
        self.random = None if shuffle is None else torch.Generator().manual_seed(shuffle)

    def __len__(self) -> int:
        """Return the number of batches of a pass; the last may be smaller."""
        return -(-len(self.cases) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of a pass."""
        cases = self.cases
        if self.random is not None:
            cases = cases[torch.randperm(len(cases), generator=self.random)]
        yield from (chosen.tolist() for chosen in torch.split(cases, self.batch_size))


def encode_cases(
    encoder: Encoder, images: Tensor, mask: Tensor, max_slices: int, patches: bool = False
) -> Tensor:
    """Return the features (B, M, D, dim) of the slices of cases; 0 where the mask is False.

    When the encoder is trained, activations are recomputed in the backward pass (checkpointing), because a
    case has a hundred slices or more.

    Args:
        encoder: the encoder.
        images: (B, M, D, H, W).
        mask: (B, M, D), True where a slice is present.
        max_slices: slices per forward.
        patches: see `Pooling`.
    """
    encode = encoder.with_mean_patch if patches else encoder
    trained = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
    parts = []
    with torch.set_grad_enabled(trained):
        for slices in torch.split(images[mask].unsqueeze(1), max_slices):
            part = checkpoint(encode, slices, use_reentrant=False) if trained else encode(slices)
            parts.append(part.float())
    features = torch.cat(parts)
    return images.new_zeros(*mask.shape, features.shape[1]).index_put((mask,), features)
