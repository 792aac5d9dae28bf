"""Extract the features of whole scans into the cache, with reading and writing in parallel."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braindino.encoders.base import Encoder
from braindino.encoders.cache import FeatureCache, Features, Level, Precision
from braindino.encoders.prefetch import prefetch
from braindino.errors import BraindinoError, NotFiniteError
from braindino.files import remove_leftovers
from braindino.progress import ProgressReport
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store

BATCHES_AHEAD = 3  # read while the encoder works
# Scans that wait to be written while the encoder works; at the level of patches a scan has 100 MB.
SCANS_BEHIND = {"scan": 16, "slice": 16, "slice_patch": 16, "patch": 2}


def extract(
    encoder: Encoder,
    store: Store,
    keys: Iterable[str],
    cache: Path | str,
    *,
    batch_size: int = 128,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
    progress: bool = False,
    level: Level = "slice",
    skip_non_finite: bool = False,
) -> Features:
    """Return the features of scans, and compute those that are not cached.

    Slices are batched across scans; reading, copying and writing run beside the encoder. Features of the same
    keys computed into an empty cache are equal to the bit on a CPU. Moves `encoder` to `device`.

    Args:
        encoder: 2-D for features of every slice, 3-D for features of whole scans.
        store: prepared with the encoder's contract.
        keys: keys of scans in `store`; repeated ones are taken once.
        cache: folder, may be shared by encoders, stores and processes.
        batch_size: slices per forward; a 3-D encoder takes as many scans as have so many slices, at least
            one.
        precision: precision of the computation and of the cache; see `FeatureCache`.
        device: where the encoder runs.
        progress: show on stderr how many scans are done.
        level: CLS tokens of slices, their patch tokens, or both; see `FeatureCache`.
        skip_non_finite: exclude scans whose features are not finite from the result, instead of raising.

    Returns:
        Features by scan key, in the order of `keys`.

    Raises:
        BraindinoError: the store was prepared with a different contract, or a scan is not in it.
        NotFiniteError: features are not finite.
    """
    if store.contract != encoder.preprocessing:
        lines = "; ".join(encoder.preprocessing.difference(store.contract))
        raise BraindinoError(
            "the store was prepared with a different contract than the encoder's (here: encoder, there: "
            f"store).\n{lines}\nPrepare a store with the encoder's contract."
        )
    requested = list(dict.fromkeys(keys))
    entries = FeatureCache(cache, encoder, precision, level)
    remove_leftovers(entries.folder, "*/.*.tmp")
    missing = [key for key in requested if entries.read(key) is None]
    if not missing:
        return Features(entries, requested)
    scans = _scans(store, missing, entries.level == "scan")
    bar = ProgressReport(len(missing), "features", show=progress)
    with bar, ThreadPoolExecutor(1) as writer:
        sink = _Sink(entries, writer, bar, skip_non_finite)
        _compute(sink, encoder, store, scans, batch_size, torch.device(device))
    return Features(entries, [key for key in requested if key not in sink.skipped])


class _Piece(NamedTuple):
    """A part of a scan for one batch.

    Attributes:
        key: key of the scan.
        slices: slices as stored (D, H, W), or a whole volume (1, D, H, W).
        scale: value of one grey level.
        zero_point: grey level of the value 0.
        depth: rows of the whole scan's features.
        modality: sequence of the scan, for 3-D encoders.
    """

    key: str
    slices: np.ndarray
    scale: float
    zero_point: float
    depth: int
    modality: str


class _Span(NamedTuple):
    """Consecutive rows of a batch that belong to one scan.

    Attributes:
        key: key of the scan.
        rows: number of rows in this batch.
        depth: rows of the whole scan's features.
    """

    key: str
    rows: int
    depth: int


@dataclass
class _Batch:
    """Slices, or whole volumes, of one or more scans.

    Attributes:
        slices: slices as stored (N, H, W), or volumes (N, D, H, W).
        scale: value of one grey level, per row (N,).
        zero_point: grey level of the value 0, per row (N,).
        spans: the rows of each scan.
        modalities: one per span.
    """

    slices: Tensor
    scale: Tensor
    zero_point: Tensor
    spans: list[_Span]
    modalities: list[str]


@dataclass
class _Output:
    """Features on their way to the host.

    Attributes:
        features: (N, width) float32.
        ready: event of an asynchronous device that the host has to wait for, or None.
        spans: the rows of each scan.
    """

    features: Tensor
    ready: Any
    spans: list[_Span]


def _scans(store: Store, keys: Sequence[str], whole: bool) -> pd.DataFrame:
    """Return depth, scale, zero_point and, for whole scans, modality by key."""
    index = store.index().drop_duplicates("key").set_index("key")
    unknown = [key for key in keys if key not in index.index]
    if unknown:
        raise BraindinoError(
            f"{len(unknown)} scans are not in the store, the first is {unknown[0]}.\n"
            "Add them with `braindino prepare`."
        )
    scans = index.loc[list(keys), ["depth", "scale", "zero_point"]]
    return scans.assign(modality=index["modality"] if whole else "")


def _compute(
    sink: "_Sink",
    encoder: Encoder,
    store: Store,
    scans: pd.DataFrame,
    batch_size: int,
    device: torch.device,
) -> None:
    """Encode scans and hand their features to the sink, one batch behind the device."""
    level = sink.cache.level
    if level == "scan":
        batch_size = max(1, batch_size // int(scans["depth"].max()))
    encoder.freeze().to(device)
    casting: AbstractContextManager[Any] = nullcontext()
    if sink.cache.dtype is np.float16:
        casting = torch.autocast(device.type, torch.bfloat16)
    batches = _batches(store, scans, batch_size, device.type == "cuda", level == "scan")
    with torch.inference_mode(), casting:
        waiting: deque[_Output] = deque()
        for batch in prefetch(batches, BATCHES_AHEAD):
            waiting.append(_forward(encoder, batch, device, level))
            # The device has its next batch before the host waits for the last one.
            if len(waiting) > 1:
                sink.take(waiting.popleft())
        while waiting:
            sink.take(waiting.popleft())
        sink.close()


def _batches(
    store: Store, scans: pd.DataFrame, batch_size: int, pinned: bool, whole: bool
) -> Iterator[_Batch]:
    """Cut the scans, laid end to end, into batches.

    Each slice is copied once, from the mapped file to the batch. Whole scans are one piece each.
    """
    pieces: list[_Piece] = []
    room = batch_size
    for key, _, scale, zero_point, modality in scans.itertuples():
        slices, start = store.slices(key), 0
        rows: np.ndarray = slices[None] if whole else slices
        depth = len(rows)
        while start < depth:
            taken = min(room, depth - start)
            pieces.append(_Piece(key, rows[start : start + taken], scale, zero_point, depth, modality))
            start, room = start + taken, room - taken
            if room == 0:
                yield _assemble(pieces, pinned)
                pieces, room = [], batch_size
    if pieces:
        yield _assemble(pieces, pinned)


def _assemble(pieces: list[_Piece], pinned: bool) -> _Batch:
    """Copy pieces into one batch, in pinned memory for a CUDA device."""
    counts = [len(piece.slices) for piece in pieces]
    first = pieces[0].slices
    dtype = torch.uint8 if first.dtype == np.uint8 else torch.float16
    slices = torch.empty((sum(counts), *first.shape[1:]), dtype=dtype, pin_memory=pinned)
    np.concatenate([piece.slices for piece in pieces], out=slices.numpy())
    repeats = torch.tensor(counts)
    scale = torch.tensor([piece.scale for piece in pieces], dtype=torch.float32)
    zero_point = torch.tensor([piece.zero_point for piece in pieces], dtype=torch.float32)
    return _Batch(
        slices=slices,
        scale=scale.repeat_interleave(repeats),
        zero_point=zero_point.repeat_interleave(repeats),
        spans=[_Span(piece.key, count, piece.depth) for piece, count in zip(pieces, counts, strict=True)],
        modalities=[piece.modality for piece in pieces],
    )


def _forward(encoder: Encoder, batch: _Batch, device: torch.device, level: Level) -> _Output:
    """Encode a batch and start the copy of its features to the host."""
    slices, scale, zero_point = (
        part.to(device, non_blocking=True) for part in (batch.slices, batch.scale, batch.zero_point)
    )
    images = decode(slices, scale, zero_point).unsqueeze(1)
    if level == "scan":
        features = encoder(images, batch.modalities).float()
    elif level == "slice":
        features = encoder(images).float()
    elif level == "slice_patch":
        features = encoder.with_mean_patch(images).float()
    else:
        features = encoder.patch_maps(images, [-1])[0].float().permute(0, 2, 3, 1).flatten(1)
    if device.type != "cuda":
        return _Output(features.cpu(), None, batch.spans)
    host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    host.copy_(features, non_blocking=True)
    new_event: Callable[[], Any] = torch.cuda.Event  # torch has no annotation for it
    ready = new_event()
    ready.record()
    return _Output(host, ready, batch.spans)


class _Sink:
    """Join the pieces of each scan, and write it in another thread when it is complete.

    Args:
        cache: the features are written to it.
        writer: the other thread.
        bar: advances by each scan.
        skip_non_finite: skip scans whose features are not finite, instead of raising.

    Attributes:
        skipped: keys of those scans.
    """

    def __init__(
        self, cache: FeatureCache, writer: ThreadPoolExecutor, bar: ProgressReport, skip_non_finite: bool
    ) -> None:
        self.cache, self.writer, self.bar, self.skip_non_finite = cache, writer, bar, skip_non_finite
        self.parts: list[np.ndarray] = []
        self.writing: deque[tuple[str, Future[None]]] = deque()
        self.skipped: set[str] = set()

    def take(self, output: _Output) -> None:
        """Take over the features of a batch; wait if too many scans are not written yet."""
        if output.ready is not None:
            output.ready.synchronize()
        features = output.features.numpy()
        start = 0
        for key, rows, depth in output.spans:
            self.parts.append(features[start : start + rows])
            start += rows
            if sum(len(part) for part in self.parts) == depth:
                values = np.concatenate(self.parts)
                self.writing.append((key, self.writer.submit(self.cache.write, key, values)))
                self.parts = []
        while len(self.writing) > SCANS_BEHIND[self.cache.level]:
            self._finish_one()

    def close(self) -> None:
        """Wait until every scan is written."""
        while self.writing:
            self._finish_one()

    def _finish_one(self) -> None:
        key, future = self.writing.popleft()
        try:
            future.result()
        except NotFiniteError:
            if not self.skip_non_finite:
                raise
            self.skipped.add(key)
        self.bar.advance()
