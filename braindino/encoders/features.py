"""Features of whole scans, extracted once and kept: content-addressed, safe to fill by several processes."""

import io
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.scans.preprocessing import decode
from braindino.scans.store import Store

Precision = Literal["float32", "bfloat16"]
Level = Literal["slice", "slice_patch", "patch", "scan"]
STORED = {"float32": np.float32, "bfloat16": np.float16}
BATCHES_AHEAD = 3  # read while the encoder works
SCANS_BEHIND = {
    "scan": 16,
    "slice": 16,
    "slice_patch": 16,
    "patch": 2,
}  # written while the encoder works; a patch level has 100 MB a scan

Item = TypeVar("Item")


class FeatureCache:
    """Features on disk: `root/<encoder>/<level>-<precision>/<xx>/<scan key>.npy`, each (D, width).

    The encoder's part of the path is a digest of its weights and preprocessing, the scan's is one of its
    content and contract: an entry is never stale, and two processes that write the same one write the same
    numbers. An entry takes its name once it is complete; whatever does not read as one counts as absent.

    Args:
        root: folder of the cache, shared by all encoders.
        precision: "float32" computes and keeps float32; "bfloat16" computes under autocast and keeps float16
            (half the space, three significant digits).
        level: "slice" keeps a slice's CLS token, width embed_dim; "slice_patch" the mean of its patch tokens
            beside it, width 2 * embed_dim; "patch" all its patch tokens after the last norm, width rows *
            columns * embed_dim (`patch_grid`), features of a patch side by side. A 3-D encoder keeps its one
            vector per scan as level "scan", D = 1, where "slice" or "patch" is asked.
    """

    def __init__(
        self,
        root: Path | str,
        encoder: Encoder,
        precision: Precision = "float32",
        level: Level = "slice",
    ) -> None:
        if precision not in STORED:
            raise BraindinoError(f"precision {precision!r}: expected {' or '.join(STORED)}.")
        if level == "slice_patch" and encoder.patch_size is None:
            raise BraindinoError(f"{type(encoder).__name__} has no patch tokens beside its CLS token.")
        self.level: Level = level if encoder.dimensions == 2 else "scan"
        self.folder = Path(root) / encoder.digest[:32] / f"{self.level}-{precision}"
        self.dtype = STORED[precision]
        rows, columns = patch_grid(encoder) if level == "patch" else (1, 2 if level == "slice_patch" else 1)
        self.width = rows * columns * encoder.embed_dim

    def path(self, key: str) -> Path:
        """Where the entry of a scan is, or would be."""
        return self.folder / key[:2] / f"{key}.npy"

    def read(self, key: str) -> np.ndarray | None:
        """(D, width), mapped from disk, or None if there is no usable entry."""
        try:
            values = np.load(self.path(key), mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        usable = values.ndim == 2 and values.shape[1] == self.width and values.dtype == self.dtype
        return values if usable else None

    def write(self, key: str, values: np.ndarray) -> None:
        """Keep (D, width) under `key`, atomically; non-finite features are refused."""
        kept = values.astype(self.dtype, copy=False)
        if not np.isfinite(kept).all():
            raise BraindinoError(
                f"the encoder's features of scan {key} are not finite as {kept.dtype}.\n"
                "Use precision float32; if that does not help, its weights are damaged."
            )
        buffer = io.BytesIO()
        np.save(buffer, kept)
        with atomic_write(self.path(key), "wb") as file:
            file.write(buffer.getbuffer())


class Features(Mapping[str, Tensor]):
    """Scan key -> (D, width), mapped from the cache when asked for."""

    def __init__(self, cache: FeatureCache, keys: Sequence[str]) -> None:
        self.cache = cache
        self._keys = dict.fromkeys(keys)

    def __getitem__(self, key: str) -> Tensor:
        """Features of one scan in the cache's precision; KeyError for a scan that was not asked for."""
        if key not in self._keys:
            raise KeyError(key)
        values = self.cache.read(key)
        if values is None:
            raise BraindinoError(f"{self.cache.path(key)} was deleted or damaged since; start again.")
        return torch.from_numpy(values)

    def __iter__(self) -> Iterator[str]:
        """Keys in the order in which they were asked for."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Number of scans."""
        return len(self._keys)


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
) -> Features:
    """Features of every slice (or whole scan) named by `keys`; only those not yet in `cache` are computed.

    Slices are batched across scans; reading, copying and writing go on beside the encoder. The features of
    the same keys from an empty cache are equal to the bit on a CPU. Moves `encoder` to `device`.

    Args:
        keys: of scans in `store`; repeated ones are taken once.
        cache: folder, may be shared by encoders, stores and processes.
        batch_size: slices per forward; a 3-D encoder takes the scans that have so many, one at least.
        progress: show a bar over scans.
        level: CLS tokens of slices, their patch tokens, or both; see `FeatureCache`.

    Raises:
        BraindinoError: the store was prepared by another contract than the encoder's, a scan is not in it, or
            features are not finite.
    """
    if store.contract != encoder.preprocessing:
        lines = "; ".join(encoder.preprocessing.difference(store.contract))
        raise BraindinoError(
            "the store was prepared otherwise than the encoder expects (here: encoder, there: store).\n"
            f"{lines}\nPrepare a store by the encoder's contract."
        )
    wanted = list(dict.fromkeys(keys))
    kept = FeatureCache(cache, encoder, precision, level)
    missing = [key for key in wanted if kept.read(key) is None]
    if missing:
        _fill(kept, encoder, store, missing, batch_size, torch.device(device), progress)
    return Features(kept, wanted)


class _Piece(NamedTuple):
    """A part of a scan for one batch."""

    key: str
    slices: np.ndarray
    step: float
    zero: float
    depth: int  # of the whole scan
    modality: str


@dataclass
class _Batch:
    """Slices of one or more scans; `spans` says whose: (key, slices in this batch, depth of the scan)."""

    slices: Tensor
    step: Tensor
    zero: Tensor
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
) -> None:
    index = store.index().drop_duplicates("key").set_index("key")
    unknown = [key for key in keys if key not in index.index]
    if unknown:
        raise BraindinoError(f"{len(unknown)} scans are not in the store, the first is {unknown[0]}.")
    scans = index.loc[list(keys), ["depth", "step", "zero"]].assign(modality="")
    if cache.level == "scan":
        scans["modality"] = index["modality"]
        batch_size = max(1, batch_size // int(scans["depth"].max()))
    encoder.freeze().to(device)
    half = cache.dtype is np.float16
    casting: AbstractContextManager[Any] = (
        torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
    )
    bar = tqdm(total=len(keys), desc="features", unit="scan", disable=not progress)
    batches = _batches(store, scans, batch_size, device.type == "cuda", cache.level == "scan")
    with bar, torch.inference_mode(), casting, ThreadPoolExecutor(1) as writer:
        sink = _Sink(cache, writer, bar)
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


def _batches(store: Store, scans: Any, batch_size: int, pinned: bool, whole: bool) -> Iterator[_Batch]:
    """Cut the scans, laid end to end, into batches; each slice is copied once, from the map to the batch.

    `whole` scans are one piece each: (1, D, H, W).
    """
    pieces: list[_Piece] = []
    room = batch_size
    for key, depth, step, zero, modality in scans.itertuples():
        slices, start = store.slices(key), 0
        volume: np.ndarray = slices[None] if whole else slices
        depth = len(volume)
        while start < depth:
            taken = min(room, depth - start)
            pieces.append(_Piece(key, volume[start : start + taken], step, zero, depth, modality))
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
    step = torch.tensor([piece.step for piece in pieces], dtype=torch.float32).repeat_interleave(repeats)
    zero = torch.tensor([piece.zero for piece in pieces], dtype=torch.float32).repeat_interleave(repeats)
    spans = [(piece.key, count, piece.depth) for piece, count in zip(pieces, counts, strict=True)]
    return _Batch(slices, step, zero, spans, [piece.modality for piece in pieces])


def patch_grid(encoder: Encoder) -> tuple[int, int]:
    """Rows and columns of patches in a slice. Raises BraindinoError if the encoder has no patches."""
    if encoder.patch_size is None:
        raise BraindinoError(f"{type(encoder).__name__} has no patch tokens; use a vision transformer.")
    height, width = encoder.preprocessing.size
    return height // encoder.patch_size, width // encoder.patch_size


def _forward(encoder: Encoder, batch: _Batch, device: torch.device, level: Level) -> _Output:
    slices, step, zero = (
        part.to(device, non_blocking=True) for part in (batch.slices, batch.step, batch.zero)
    )
    images = decode(slices, step, zero).unsqueeze(1)
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

    def __init__(self, cache: FeatureCache, writer: ThreadPoolExecutor, bar: Any) -> None:
        self.cache, self.writer, self.bar = cache, writer, bar
        self.parts: list[np.ndarray] = []
        self.writing: deque[Future[None]] = deque()

    def take(self, output: _Output) -> None:
        if output.ready is not None:
            output.ready.synchronize()
        values = output.features.numpy()
        start = 0
        for key, count, depth in output.spans:
            self.parts.append(values[start : start + count])
            start += count
            if sum(len(part) for part in self.parts) == depth:
                self.writing.append(self.writer.submit(self.cache.write, key, np.concatenate(self.parts)))
                self.parts = []
        while len(self.writing) > SCANS_BEHIND[self.cache.level]:
            self._finish_one()

    def close(self) -> None:
        while self.writing:
            self._finish_one()

    def _finish_one(self) -> None:
        self.writing.popleft().result()
        self.bar.update()


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
