"""Slices with their masks: drawn at random for training, one after another for evaluation."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.grid_masks import GridMask
from braindino.datasets.loading import Loader, worker_options
from braindino.datasets.masks import region_membership
from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.files import digest_of_json
from braindino.probing.data.cases import ProbeCases
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.scans.store.store import Store
from braindino.scans.subset import evenly_spaced

SAMPLE = 256  # slices over which the moments of patch tokens are taken
Place = tuple[int, int]  # number of a case, number of a slice


class MaskedCases:
    """The cases of a study with their masks on the grid, whatever the encoder.

    Attributes:
        masks: of each case. membership: (256, R) bool, which label is part of which region.
        spans: (N, 2) first and last slice with anything in any scan of a case.

    Args:
        masks: by row label of the data module's cases; see `grid_masks`.

    Raises:
        BraindinoError: a case's scans have different numbers of slices.
    """

    def __init__(self, cases: ProbeCases, datamodule: ScanDataModule, masks: Mapping[int, GridMask]) -> None:
        self.cases, self.store, self.workers = cases, datamodule.store, datamodule.num_workers
        self.datamodule = datamodule
        self.modalities = cases.modalities
        self.membership = torch.from_numpy(region_membership(datamodule.regions))
        numbers = pd.Series(datamodule.cases.index, index=datamodule.cases["case"])
        self.rows = [int(row) for row in numbers.loc[cases.table["case"]]]
        self.masks = [masks[row] for row in self.rows]
        self.keys = cases.table[[f"key_{name}" for name in cases.modalities]].to_numpy(str)
        index = datamodule.store.index().drop_duplicates("key").set_index("key")
        needed = index.loc[sorted({key for key in self.keys.ravel() if key})]
        self.scales = {str(key): (row["scale"], row["zero_point"]) for key, row in needed.iterrows()}
        spans = []
        for name, keys in zip(cases.table["case"], self.keys, strict=True):
            there = needed.loc[[key for key in keys if key]]
            if len(depths := sorted(set(there["depth"]))) > 1:
                raise BraindinoError(
                    f"case {name}: its scans have {' and '.join(map(str, depths))} slices; to be segmented "
                    "together they must be in register."
                )
            spans.append((int(there["first"].min()), int(there["last"].max())))
        self.spans = np.array(spans)

    @property
    def digest(self) -> str:
        """Of all masks and of what their labels mean."""
        return digest_of_json([[mask.digest for mask in self.masks], self.membership.nonzero().tolist()])


class CaseSlices:
    """Batches of slices with masks for a probe whose head is dense; see `CaseData`.

    Batches hold "slices" (B, M, H, W) as stored, "scale", "zero_point" and "present" (B, M), "target"
    (B, H, W) uint8 labels, "case" and "slice" (B,).

    Args:
        masked: the cases. encoder: on the device where it is to work. head: says what an epoch draws.
        progress: show on stderr how many cases are measured.
    """

    def __init__(
        self, masked: MaskedCases, encoder: Encoder, head: SegmentationHead, progress: bool = False
    ) -> None:
        self.encoder: Encoder | None = encoder
        self.progress = progress
        self.masked, self.head = masked, head
        self.shape = decoder_shape(encoder, len(masked.modalities))
        self.dataset = _Slices(masked.store, masked.keys, masked.scales, masked.masks)

    def train_target(self, cases: Tensor) -> Tensor:
        """Which label is part of which region, (256, R) bool."""
        return self.masked.membership

    def sample(self, cases: Tensor) -> DataLoader[Any]:
        """Some of all slices of the cases, evenly spaced."""
        places = [(case, i) for case in cases.tolist() for i in self._span(case)]
        chosen = evenly_spaced(len(places), min(SAMPLE, len(places)))
        return self._loader(_InOrder([places[i] for i in chosen], self.head.batch_size))

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> DataLoader[Any]:
        """Batches of slices: all of every case in order, or with a seed in `shuffle` an epoch's draw."""
        if shuffle is not None:
            return self._loader(Draws(self, cases.tolist(), batch_size, shuffle))
        masks = self.masked.masks
        return self._loader(
            _InOrder([(c, i) for c in cases.tolist() for i in range(len(masks[c]))], batch_size)
        )

    def _span(self, case: int) -> range:
        first, last = self.masked.spans[case]
        return range(first, last + 1)

    def _loader(self, order: Sampler[list[Place]]) -> DataLoader[Any]:
        return Loader(
            self.dataset,
            batch_sampler=order,
            **worker_options(self.masked.workers),
            generator=torch.Generator(),  # or each pass would draw from the global random state
        )


def decoder_shape(encoder: Encoder, modalities: int) -> dict[str, int]:
    """What a `PatchDecoder` is built for.

    Raises:
        BraindinoError: the encoder has no patch tokens.
    """
    if encoder.patch_size is None or not encoder.blocks:
        raise BraindinoError(
            f"{type(encoder).__name__} has no patch tokens, which segmentation decodes.\n"
            "Use a vision transformer."
        )
    return {
        "embed_dim": encoder.embed_dim,
        "modalities": modalities,
        "blocks": encoder.blocks,
        "patch_size": encoder.patch_size,
        "in_chans": encoder.in_chans,
    }


class Draws(Sampler[list[Place]]):
    """The slices of an epoch, another draw every pass, in batches that mix cases.

    Of each case `slices_per_case`; each with probability `foreground` from those that hold a region, drawn at
    random from the regions that the case has, else from the span that is not empty.
    """

    def __init__(self, data: CaseSlices, cases: list[int], batch_size: int, seed: int) -> None:
        head = data.head
        self.batch_size, self.foreground = batch_size, head.foreground
        self.per_case = head.slices_per_case
        self.spans = {case: np.array(data._span(case)) for case in cases}
        members = data.masked.membership.numpy()
        self.holding = {}
        for case in cases:
            holds = (data.masked.masks[case].present.astype(np.float32) @ members.astype(np.float32)) > 0
            self.holding[case] = [np.flatnonzero(column) for column in holds.T if column.any()]
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Number of batches of a pass; the last may be smaller."""
        return -(-len(self.spans) * self.per_case // self.batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        """One pass."""
        places = []
        for case, span in self.spans.items():
            for _ in range(self.per_case):
                held = self.holding[case]
                forced = self.random.random() < self.foreground and held
                choices = held[self.random.integers(len(held))] if forced else span
                places.append((case, int(self.random.choice(choices))))
        order = self.random.permutation(len(places))
        mixed = [places[i] for i in order]
        yield from (mixed[i : i + self.batch_size] for i in range(0, len(mixed), self.batch_size))


class _InOrder(Sampler[list[Place]]):
    def __init__(self, places: list[Place], batch_size: int) -> None:
        self.places, self.batch_size = places, batch_size

    def __len__(self) -> int:
        return -(-len(self.places) // self.batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        yield from (self.places[i : i + self.batch_size] for i in range(0, len(self.places), self.batch_size))


class _Slices(Dataset[dict[str, Any]]):
    """One slice of all modalities of a case, with its mask."""

    def __init__(
        self, store: Store, keys: np.ndarray, scales: Mapping[str, tuple[float, float]], masks: list[GridMask]
    ) -> None:
        self.store, self.keys, self.scales, self.masks = store, keys, scales, masks

    def __getitem__(self, place: Place) -> dict[str, Any]:
        case, number = place
        keys, labels = self.keys[case], self.masks[case].slice(number)
        empty = np.zeros(labels.shape, self.store.contract.dtype)
        scales = np.array([self.scales.get(key, (1.0, 0.0)) for key in keys], np.float32)
        return {
            "slices": np.stack([self.store.slice(key, number) if key else empty for key in keys]),
            "scale": scales[:, 0],
            "zero_point": scales[:, 1],
            "present": keys != "",
            "target": labels.copy(),
            "case": case,
            "slice": number,
        }
