"""Extraction of the features of whole scans into the cache, reading and writing beside the encoder."""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from braindino.encoders.base import Encoder
from braindino.encoders.cache import FeatureCache, Features, Level, Precision
from braindino.errors import BraindinoError, NotFiniteError
from braindino.files import remove_leftovers
from braindino.progress import ProgressReport
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store

BATCHES_AHEAD = 3  # read while the encoder works
SCANS_BEHIND = {
    "scan": 16,
    "slice": 16,
    "slice_patch": 16,
    "patch": 2,
}  # written while the encoder works; a patch level has 100 MB a scan

Item = TypeVar("Item")


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
    leave_out: bool = False,
) -> Features:
    """Features of every slice (or whole scan) named by `keys`; only those not yet in `cache` are computed.

    Slices are batched across scans; reading, copying and writing go on beside the encoder. The features of
    the same keys from an empty cache are equal to the bit on a CPU. Moves `encoder` to `device`.

    Args:
        keys: of scans in `store`; repeated ones are taken once.
        cache: folder, may be shared by encoders, stores and processes.
        batch_size: slices per forward; a 3-D encoder takes the scans that have so many, one at least.
        progress: show on stderr how many scans are done.
        level: CLS tokens of slices, their patch tokens, or both; see `FeatureCache`.
        leave_out: leave scans whose features are not finite out of the result, instead of raising.

    Raises:
        BraindinoError: the store was prepared by another contract than the encoder's, or a scan is not in it.
        NotFiniteError: features are not finite.
    """
    if store.contract != encoder.preprocessing:
        lines = "; ".join(encoder.preprocessing.difference(store.contract))
        raise BraindinoError(
            "the store was prepared otherwise than the encoder expects (here: encoder, there: store).\n"
            f"{lines}\nPrepare a store by the encoder's contract."
        )
    wanted = list(dict.fromkeys(keys))
    kept = FeatureCache(cache, encoder, precision, level)
    remove_leftovers(kept.folder, "*/.*.tmp")
    missing = [key for key in wanted if kept.read(key) is None]
    if missing:
        lost = _fill(kept, encoder, store, missing, batch_size, torch.device(device), progress, leave_out)
        wanted = [key for key in wanted if key not in lost]
    return Features(kept, wanted)


class _Piece(NamedTuple):
    """A part of a scan for one batch."""

    key: str
    slices: np.ndarray
    scale: float
    zero_point: float
    depth: int  # of the whole scan
    modality: str


@dataclass
class _Batch:
    """Slices of one or more scans; `spans` says whose: (key, slices in this batch, depth of the scan)."""

    slices: Tensor
    scale: Tensor
    zero_point: Tensor
    spans: list[tuple[str, int, int]]
    modalities: list[str]  # one per span


@dataclass
class _Output:
    """Features on their way to the host; `ready` is waited for where the device is asynchronous."""

    features: Tensor
    ready: Any
    spans: list[tuple[str, int, int]]


def _fill(
    cache: FeatureCache,
    encoder: Encoder,
    store: Store,
    keys: Sequence[str],
    batch_size: int,
    device: torch.device,
    progress: bool,
    leave_out: bool,
) -> set[str]:
    """Returns the scans that were left out."""
    index = store.index().drop_duplicates("key").set_index("key")
    unknown = [key for key in keys if key not in index.index]
    if unknown:
        raise BraindinoError(f"{len(unknown)} scans are not in the store, the first is {unknown[0]}.")
    scans = index.loc[list(keys), ["depth", "scale", "zero_point"]].assign(modality="")
    if cache.level == "scan":
        scans["modality"] = index["modality"]
        batch_size = max(1, batch_size // int(scans["depth"].max()))
    encoder.freeze().to(device)
    half = cache.dtype is np.float16
    casting: AbstractContextManager[Any] = (
        torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
    )
    bar = ProgressReport(len(keys), "features", show=progress)
    batches = _batches(store, scans, batch_size, device.type == "cuda", cache.level == "scan")
    with bar, torch.inference_mode(), casting, ThreadPoolExecutor(1) as writer:
        sink = _Sink(cache, writer, bar, leave_out)
        waiting: deque[_Output] = deque()
        for batch in _ahead(batches, BATCHES_AHEAD):
            waiting.append(_forward(encoder, batch, device, cache.level))
            if (
                len(waiting) > 1
            ):  # one behind, so that the device has its next batch before we wait for the last
                sink.take(waiting.popleft())
        while waiting:
            sink.take(waiting.popleft())
        sink.close()
    return sink.lost


def _batches(store: Store, scans: Any, batch_size: int, pinned: bool, whole: bool) -> Iterator[_Batch]:
    """Cut the scans, laid end to end, into batches; each slice is copied once, from the map to the batch.

    `whole` scans are one piece each: (1, D, H, W).
    """
    pieces: list[_Piece] = []
    room = batch_size
    for key, depth, scale, zero_point, modality in scans.itertuples():
        slices, start = store.slices(key), 0
        volume: np.ndarray = slices[None] if whole else slices
        depth = len(volume)
        while start < depth:
            taken = min(room, depth - start)
            pieces.append(_Piece(key, volume[start : start + taken], scale, zero_point, depth, modality))
            start, room = start + taken, room - taken
            if room == 0:
                yield _assemble(pieces, pinned)
                pieces, room = [], batch_size
    if pieces:
        yield _assemble(pieces, pinned)


def _assemble(pieces: list[_Piece], pinned: bool) -> _Batch:
    counts = [len(piece.slices) for piece in pieces]
    first = pieces[0].slices
    dtype = torch.uint8 if first.dtype == np.uint8 else torch.float16
    slices = torch.empty((sum(counts), *first.shape[1:]), dtype=dtype, pin_memory=pinned)
    np.concatenate([piece.slices for piece in pieces], out=slices.numpy())
    repeats = torch.tensor(counts)
    scale = torch.tensor([piece.scale for piece in pieces], dtype=torch.float32).repeat_interleave(repeats)
    zero_point = torch.tensor([piece.zero_point for piece in pieces], dtype=torch.float32).repeat_interleave(
        repeats
    )
    spans = [(piece.key, count, piece.depth) for piece, count in zip(pieces, counts, strict=True)]
    return _Batch(slices, scale, zero_point, spans, [piece.modality for piece in pieces])


def _forward(encoder: Encoder, batch: _Batch, device: torch.device, level: Level) -> _Output:
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
    ready = torch.cuda.Event()
    ready.record()
    return _Output(host, ready, batch.spans)


class _Sink:
    """Puts the pieces of a scan together again and writes it, in another thread, when it is complete."""

    def __init__(
        self, cache: FeatureCache, writer: ThreadPoolExecutor, bar: ProgressReport, leave_out: bool
    ) -> None:
        self.cache, self.writer, self.bar, self.leave_out = cache, writer, bar, leave_out
        self.parts: list[np.ndarray] = []
        self.writing: deque[tuple[str, Future[None]]] = deque()
        self.lost: set[str] = set()

    def take(self, output: _Output) -> None:
        if output.ready is not None:
            output.ready.synchronize()
        features = output.features.numpy()
        start = 0
        for key, count, depth in output.spans:
            self.parts.append(features[start : start + count])
            start += count
            if sum(len(part) for part in self.parts) == depth:
                values = np.concatenate(self.parts)
                self.writing.append((key, self.writer.submit(self.cache.write, key, values)))
                self.parts = []
        while len(self.writing) > SCANS_BEHIND[self.cache.level]:
            self._finish_one()

    def close(self) -> None:
        while self.writing:
            self._finish_one()

    def _finish_one(self) -> None:
        key, future = self.writing.popleft()
        try:
            future.result()
        except NotFiniteError:
            if not self.leave_out:
                raise
            self.lost.add(key)
        self.bar.advance()


def _ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield `items` while another thread makes up to `count` in advance; its errors are raised here."""
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=count)
    stop = threading.Event()

    def put(entry: tuple[Item | None, BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                made.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, None))
        except BaseException as error:  # handed to the consumer, which raises it
            put((None, error))

    thread = threading.Thread(target=work, name="features-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join()
