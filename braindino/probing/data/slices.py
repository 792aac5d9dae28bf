"""Data of a segmentation probe: slices with masks, drawn in training, ordered in evaluation."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.grid_masks import GridMask
from braindino.datasets.loading import Loader, worker_options
from braindino.datasets.masks import region_membership
from braindino.encoders.base import Encoder
from braindino.encoders.token_cache import CachedTokens
from braindino.errors import BraindinoError
from braindino.files import digest_of_json
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.hard_slices import HardSlices
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.scans.subset import evenly_spaced

# Slices from which the moments of patch tokens are computed.
SAMPLE = 256
# Number of a case, number of a slice, and where slices are mirrored at random 1 for a mirrored one.
SliceIndex = tuple[int, ...]


class MaskedCases:
    """The cases of a study with their masks on the grid of the store.

    Attributes:
        masks: mask of each case.
        membership: (256, R) bool, whether a label is part of a region.
        spans: (N, 2) first and last slice that is not empty in some scan of a case.
        rows: row label of each case in the data module's cases.
        keys: (N, M) keys of the scans of each case; "" for a missing modality.

    Args:
        cases: all cases of the study.
        datamodule: the dataset, after `setup`.
        masks: row label of the data module's cases -> mask; see `grid_masks`.

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
            scans = needed.loc[[key for key in keys if key]]
            if len(depths := sorted(set(scans["depth"]))) > 1:
                raise BraindinoError(
                    f"case {name}: its scans have {' and '.join(map(str, depths))} slices; to be segmented "
                    "together they must be in register."
                )
            spans.append((int(scans["first"].min()), int(scans["last"].max())))
        self.spans = np.array(spans)

    @property
    def digest(self) -> str:
        """Return the digest of all masks and of the meaning of their labels."""
        return digest_of_json([[mask.digest for mask in self.masks], self.membership.nonzero().tolist()])


class CaseSlices:
    """Load slices with masks from the store, batch by batch, for a dense head; see `CaseData`.

    Batches contain "slices" (B, M, H, W) as stored, "scale", "zero_point" and "present" (B, M), "target"
    (B, H, W) uint8 labels, "case" and "slice" (B,). With K - 1 neighbours "slices" is (B, K, M, H, W), the
    slice itself in the middle, and "planes" (B, K) numbers all slices of all cases.

    With cached tokens they contain "tokens" (B, K, M, C, h, w) float16 and "cached" (B, M), whether those of
    a modality are in the cache; else they are 0. In evaluation with `test_flips` "mirrored" are the tokens of
    the mirrored slices. If slices are mirrored, "flipped" (B,) marks those that are, with their labels.

    Args:
        masked: all cases of the study with their masks.
        encoder: the encoder, on its device.
        head: head of the probe; it sets the number of slices that an epoch draws.
        progress: show on stderr how many cases are measured.
        tokens: cached tokens of the scans, or of some of them; None computes all in the loop.
        flip: probability that a slice of training is mirrored left to right.
    """

    def __init__(
        self,
        masked: MaskedCases,
        encoder: Encoder,
        head: SegmentationHead,
        progress: bool = False,
        tokens: CachedTokens | None = None,
        flip: float = 0.0,
    ) -> None:
        self.encoder: Encoder | None = encoder
        self.progress = progress
        self.masked, self.head = masked, head
        self.shape = decoder_shape(encoder, len(masked.modalities))
        self.flip = flip
        self.drawn, self.ordered = (
            _Slices(masked, head.neighbours, tokens, both) for both in (False, head.test_flips)
        )

    def train_target(self, cases: Tensor) -> Tensor:
        """Return whether a label is part of a region, (256, R) bool."""
        return self.masked.membership

    def sample(self, cases: Tensor) -> DataLoader[Any]:
        """Return up to `SAMPLE` slices of the cases numbered `cases`, at even distances."""
        slices = [(case, i) for case in cases.tolist() for i in self.span(case)]
        chosen = evenly_spaced(len(slices), min(SAMPLE, len(slices)))
        return self._loader(self.drawn, _SequentialSampler([slices[i] for i in chosen], self.head.batch_size))

    def loader(self, cases: Tensor, batch_size: int, shuffle: int | None = None) -> DataLoader[Any]:
        """Return batches of all slices in order, or with a seed `shuffle` of drawn slices."""
        if shuffle is not None:
            return self._loader(self.drawn, SliceSampler(self, cases.tolist(), batch_size, shuffle))
        masks = self.masked.masks
        slices: list[SliceIndex] = [(case, i) for case in cases.tolist() for i in range(len(masks[case]))]
        return self._loader(self.ordered, _SequentialSampler(slices, batch_size))

    def span(self, case: int) -> range:
        """Return the numbers of the slices from the first to the last that is not empty."""
        first, last = self.masked.spans[case]
        return range(first, last + 1)

    def _loader(self, dataset: "_Slices", sampler: Sampler[list[SliceIndex]]) -> DataLoader[Any]:
        return Loader(
            dataset,
            batch_sampler=sampler,
            collate_fn=partial(_joined, default_collate),
            **worker_options(self.masked.workers),
            # Without it each pass would draw from the global random state.
            generator=torch.Generator(),
        )


def decoder_shape(encoder: Encoder, modalities: int) -> dict[str, Any]:
    """Return the arguments of `Decoder.build`.

    Args:
        encoder: the encoder.
        modalities: scans per case.

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
        "size": encoder.preprocessing.size,
    }


def neighbour_planes(numbers: Tensor, neighbours: int, depth: int) -> Tensor:
    """Return the numbers of slices and of those on each side, (N, 2 neighbours + 1).

    The first and the last slice stand for the slices beyond them.

    Args:
        numbers: (N,) numbers of slices.
        neighbours: slices on each side.
        depth: slices of the scan.
    """
    return (numbers[:, None] + torch.arange(-neighbours, neighbours + 1)).clamp(0, depth - 1)


def _joined(join: Callable[[Any], Any], parts: Any) -> Any:
    """Return `join(parts)` outside of autocast, which on a CPU joins no tensors of float16."""
    with torch.autocast("cpu", enabled=False):
        return join(parts)


class SliceSampler(Sampler[list[SliceIndex]]):
    """Sample the slices of an epoch, others every pass, in batches that mix cases.

    `slices_per_case` slices are drawn from each case: with probability `foreground` from the slices with a
    region, drawn at random among the regions of the case, with probability `hard_empty` from those without a
    region (see `HardSlices`), else from all slices that are not empty.

    Attributes:
        hard_slices: draws the slices of `hard_empty`, and has to be a callback of the training; None if it
            is 0.

    Args:
        data: the data; its head sets `slices_per_case`, `foreground` and `hard_empty`.
        cases: numbers of the cases.
        batch_size: slices per batch.
        seed: seed of the draws.
    """

    def __init__(self, data: CaseSlices, cases: list[int], batch_size: int, seed: int) -> None:
        head = data.head
        self.batch_size, self.foreground, self.hard_empty = batch_size, head.foreground, head.hard_empty
        self.per_case = head.slices_per_case
        self.spans = {case: np.array(data.span(case)) for case in cases}
        members = data.masked.membership.numpy()
        self.with_region, occupied = {}, {}
        for case in cases:
            present = (data.masked.masks[case].present.astype(np.float32) @ members.astype(np.float32)) > 0
            self.with_region[case] = [np.flatnonzero(column) for column in present.T if column.any()]
            occupied[case] = np.asarray(present.any(axis=1))
        area = int(np.prod(data.shape["size"]))
        self.hard_slices = HardSlices(self.spans, occupied, area) if head.hard_empty else None
        self.random = np.random.default_rng(seed)
        self.flip = data.flip

    def __len__(self) -> int:
        """Return the number of batches of a pass; the last may be smaller."""
        return -(-len(self.spans) * self.per_case // self.batch_size)

    def __iter__(self) -> Iterator[list[SliceIndex]]:
        """Yield the batches of a pass."""
        slices: list[SliceIndex] = []
        for case, span in self.spans.items():
            slices += [(case, self._draw(case, span)) for _ in range(self.per_case)]
        order = self.random.permutation(len(slices))
        mixed = self._flipped([slices[i] for i in order])
        yield from (mixed[i : i + self.batch_size] for i in range(0, len(mixed), self.batch_size))

    def _flipped(self, slices: list[SliceIndex]) -> list[SliceIndex]:
        """Return the slices of an epoch with 1 added to mirrored ones and 0 to others, if any is mirrored."""
        if not self.flip:
            return slices
        # A state far away in the same sequence: the same slices are drawn with and without flips.
        bits = self.random.bit_generator
        assert isinstance(bits, np.random.PCG64)
        flips = np.random.Generator(bits.jumped()).random(len(slices)) < self.flip
        return [(*index, int(flip)) for index, flip in zip(slices, flips, strict=True)]

    def _draw(self, case: int, span: np.ndarray) -> int:
        """Return the number of a slice of a case."""
        regions, hard, share = self.with_region[case], self.hard_slices, self.random.random()
        if share < self.foreground and regions:
            return int(self.random.choice(regions[self.random.integers(len(regions))]))
        if hard is not None and share >= 1 - self.hard_empty and len(hard.slices[case]):
            return hard.draw(case, self.random)
        return int(self.random.choice(span))


class _SequentialSampler(Sampler[list[SliceIndex]]):
    def __init__(self, slices: list[SliceIndex], batch_size: int) -> None:
        self.slices, self.batch_size = slices, batch_size

    def __len__(self) -> int:
        return -(-len(self.slices) // self.batch_size)

    def __iter__(self) -> Iterator[list[SliceIndex]]:
        yield from (self.slices[i : i + self.batch_size] for i in range(0, len(self.slices), self.batch_size))


class _Slices(Dataset[dict[str, Any]]):
    """One slice of all modalities of a case, with its mask and its cached tokens.

    Args:
        masked: all cases of the study with their masks.
        neighbours: slices on each side that belong to a slice.
        tokens: cached tokens, or None.
        both: return the tokens of the mirrored slice too.
    """

    def __init__(self, masked: MaskedCases, neighbours: int, tokens: CachedTokens | None, both: bool) -> None:
        self.store, self.keys, self.scales, self.masks = (
            masked.store,
            masked.keys,
            masked.scales,
            masked.masks,
        )
        self.neighbours, self.tokens, self.both = neighbours, tokens, both
        self.first_plane = np.cumsum([0, *(len(mask) for mask in masked.masks)])

    def __getitem__(self, index: SliceIndex) -> dict[str, Any]:
        case, number, *flip = index
        mirrored = flip == [1]
        keys, labels = self.keys[case], self.masks[case].slice(number)
        scales = np.array([self.scales.get(key, (1.0, 0.0)) for key in keys], np.float32)
        numbers = neighbour_planes(torch.tensor([number]), self.neighbours, len(self.masks[case]))[0]
        stack = np.stack([self._slice(keys, plane, labels.shape) for plane in numbers.tolist()])
        if mirrored:
            stack, labels = stack[..., ::-1], labels[..., ::-1]
        item = {
            "slices": np.ascontiguousarray(stack if self.neighbours else stack[0]),
            "scale": scales[:, 0],
            "zero_point": scales[:, 1],
            "present": keys != "",
            "target": labels.copy(),
            "case": case,
            "slice": number,
        }
        if flip:
            item["flipped"] = mirrored
        if self.neighbours:
            # Numbers of their own for mirrored slices.
            first = self.first_plane[case] + mirrored * self.first_plane[-1]
            item["planes"] = numbers.numpy() + first
        if self.tokens is not None:
            item["cached"] = np.array([key in self.tokens.keys for key in keys])
            item["tokens"] = self._tokens(self.tokens, keys, numbers, mirrored)
            if self.both:
                item["mirrored"] = self._tokens(self.tokens, keys, numbers, True)
        return item

    def _slice(self, keys: np.ndarray, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return a slice of all modalities, (M, H, W); zeros for a missing one."""
        empty = np.zeros(shape, self.store.contract.dtype)
        return np.stack([self.store.slice(key, number) if key else empty for key in keys])

    @staticmethod
    def _tokens(tokens: CachedTokens, keys: np.ndarray, numbers: Tensor, mirrored: bool) -> Tensor:
        """Return the tokens of slices, (K, M, C, h, w) float16; zeros for a scan that is not cached."""
        empty = torch.zeros((), dtype=torch.float16).expand(tokens.cache.shape)
        planes = [
            tokens.slice(key, number, mirrored) if key in tokens.keys else empty
            for number in numbers.tolist()
            for key in keys
        ]
        # A single one is not copied before the batch is.
        stack = planes[0][None] if len(planes) == 1 else _joined(torch.stack, planes)
        return stack.view(len(numbers), len(keys), *tokens.cache.shape)
