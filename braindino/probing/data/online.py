"""Whole cases with the encoder in the loop: their slices batch by batch, and the features they become."""

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
    """N cases as batches of the slices of all their scans, read from the store when they are asked for.

    Batches hold "slices" (B, M, D, H, W) as stored, "scale" and "zero_point" (B, M), "mask" (B, M, D) of the
    slices that are there, "target", "case".

    Args:
        encoder: on the device where it is to work.
        width: of the features that are taken from a slice.
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
        """The targets of the cases numbered `cases`."""
        return self.target[cases]

    def sample(self, cases: Tensor) -> DataLoader[Any]:
        """All of the cases."""
        return self.loader(cases, 1)

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> DataLoader[Any]:
        """Batches of the cases numbered `cases`; a seed in `shuffle` gives another order every epoch."""
        return Loader(
            self.dataset,
            batch_sampler=Order(cases, batch_size, shuffle),
            collate_fn=self._collate,
            **worker_options(self.workers),
            generator=torch.Generator(),  # or each pass would draw from the global random state
        )

    def _collate(self, items: list[dict[str, Any]]) -> Batch:
        batch = collate(items)
        batch["mask"] = torch.arange(batch["slices"].shape[2]) < batch["depth"][..., None]
        batch["target"] = self.target[batch["case"]]
        return batch


class Order(Sampler[list[int]]):
    """Numbers of cases in batches; with a seed another order every pass."""

    def __init__(self, cases: Tensor, batch_size: int, shuffle: int | None) -> None:
        self.cases, self.batch_size = cases, batch_size
        self.random = None if shuffle is None else torch.Generator().manual_seed(shuffle)

    def __len__(self) -> int:
        """Number of batches of a pass; the last may be smaller."""
        return -(-len(self.cases) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """One pass."""
        cases = self.cases
        if self.random is not None:
            cases = cases[torch.randperm(len(cases), generator=self.random)]
        yield from (chosen.tolist() for chosen in cases.split(self.batch_size))


def encode_cases(
    encoder: Encoder, images: Tensor, mask: Tensor, at_once: int, patches: bool = False
) -> Tensor:
    """Features (B, M, D, dim) of images (B, M, D, H, W) where `mask` (B, M, D) is True, 0 elsewhere.

    Slices pass the encoder `at_once`. Where the encoder is trained, each pass is computed again on the way
    back instead of being kept: a case has a hundred slices or more. patches: see `Pooling`.
    """
    encode = encoder.with_mean_patch if patches else encoder
    trained = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
    parts = []
    with torch.set_grad_enabled(trained):
        for slices in images[mask].unsqueeze(1).split(at_once):
            kept = checkpoint(encode, slices, use_reentrant=False) if trained else encode(slices)
            parts.append(kept.float())
    found = torch.cat(parts)
    return images.new_zeros(*mask.shape, found.shape[1]).index_put((mask,), found)
