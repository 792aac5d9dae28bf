"""Cache the patch tokens of a segmentation before training, if its slices do not change."""

import logging
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braindino.encoders.base import Encoder
from braindino.encoders.token_cache import CachedTokens, TokenCache, distinct_slices
from braindino.files import remove_leftovers
from braindino.probing.augmentation import Augmentation
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.slices import MaskedCases
from braindino.probing.decoders.base import MAX_SLICES, Decoder
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.protocol import Protocol
from braindino.progress import ProgressReport, announce
from braindino.scans.preprocessing import decode

GIGABYTE = 10**9
# Share of the free space of the disk that the cache may take.
FREE_SHARE = 0.9
_log = logging.getLogger(__name__)


def why_not_cached(module: FrozenProbeModule) -> str:
    """Return why the tokens of a segmentation cannot be computed once, or "" if they can.

    Args:
        module: the probe, after `resolve`.
    """
    decoder = module.pooling
    assert isinstance(decoder, Decoder)
    if not (decoder.reads_tokens and decoder.use_tokens):
        return "the decoder uses no tokens"
    if decoder.shares_fusion:
        return f"the decoder {decoder.name} fuses modalities by trained weights before the encoder"
    if module.unfreeze:
        return "the encoder is trained (model.unfreeze)"
    if module.drop_path:
        return "the encoder has stochastic depth"
    if module.augment is True or (isinstance(module.augment, Augmentation) and not module.augment.flips_only):
        return (
            "model.augment changes slices before the encoder; false, or flips alone "
            "({shift: 0, scale: 0, offset: 0}), allows it"
        )
    return ""


def flip_of(module: FrozenProbeModule) -> float:
    """Return the probability that the sampler mirrors a slice; 0 if the module changes slices itself.

    It does not depend on the space for the cache, so that a study with a smaller one gives the same results,
    nor on the use of tokens, so that baselines without them see the same slices. Slices of the decoder
    `paper` are mirrored by the module, as in version 0.1.

    Args:
        module: the probe, after `resolve`.
    """
    decoder, augment = module.pooling, module.augment
    assert isinstance(decoder, Decoder)
    if not isinstance(augment, Augmentation) or not augment.flips_only or decoder.shares_fusion:
        return 0.0
    return augment.flip


def cached_tokens(
    network: Encoder,
    module: FrozenProbeModule,
    cases: ProbeCases,
    masked: MaskedCases,
    protocol: Protocol,
    progress: bool = False,
) -> CachedTokens | None:
    """Compute the tokens of all scans that fit into `probe.cache_gb`, and return them.

    Args:
        network: the encoder, on its device; it is frozen.
        module: the probe, with a `SegmentationHead`, after `resolve`.
        cases: all cases of the study.
        masked: the cases with their masks.
        protocol: names the folder of the cache and its size.
        progress: show on stderr how many scans are done, or why none is cached.

    Returns:
        None if no scan is cached.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    if protocol.cache is False or protocol.cache_gb == 0:
        return None
    if reason := why_not_cached(module):
        uses_tokens = isinstance(module.pooling, Decoder) and module.pooling.reads_tokens and head.use_tokens
        announce(f"tokens are not cached: {reason}", progress and uses_tokens, sys.stderr)
        return None
    network.freeze()
    decoder = head.make_decoder()
    decoder.blocks = decoder.choose_blocks(network.blocks)
    root = protocol.cache if isinstance(protocol.cache, Path) else masked.store.path / "features"
    size = decoder.image_size or network.preprocessing.size
    cache = TokenCache(root, network, decoder.blocks, size, protocol.precision)
    variants = [False, True] if head.test_flips or flip_of(module) else [False]
    keys = [key for number in _by_use(cases, protocol) for key in masked.keys[number] if key]
    device = next(network.parameters()).device

    def encode(slices: Tensor, scale: float, zero_point: float) -> Tensor:
        return decoder.encode(network, decode(slices.to(device), scale, zero_point).unsqueeze(1))

    casting: AbstractContextManager[Any] = nullcontext()
    if protocol.precision == "bfloat16":
        casting = torch.autocast(device.type, torch.bfloat16)
    filling = _Filling(cache, masked, variants, encode, min(protocol.extraction_batch, MAX_SLICES))
    with torch.inference_mode(), casting:
        done = filling.run(list(dict.fromkeys(keys)), protocol.cache_gb, progress)
    return CachedTokens(cache, done) if done else None


def _by_use(cases: ProbeCases, protocol: Protocol) -> list[int]:
    """Return the numbers of the cases, those first whose slices are read most often.

    Every slice of a validation case is read in every epoch, some of a training case, and those of a test case
    once per cell. Training cases without a label in every cell are not read.
    """
    splits = [cases] if cases.folds is None else [cases.of_fold(fold) for fold in range(cases.folds)]
    parts: list[pd.DataFrame] = []
    parts += [split.part("test" if protocol.selection == "test" else "val") for split in splits]
    parts += [split.labelled(fraction, seed) for split in splits for seed, fraction in protocol.cells]
    parts += [split.part(name) for split in splits for name in ("val", "test")]
    return list(dict.fromkeys(int(number) for part in parts for number in part.index))


class _Missing(NamedTuple):
    """A scan without all its entries.

    Attributes:
        key: key of the scan.
        variants: for each entry to compute, whether it is that of the mirrored slices.
    """

    key: str
    variants: list[bool]


class _Filling:
    """Fill a cache with the tokens of scans, as far as its size allows.

    Args:
        cache: the cache.
        masked: the scans, with scale and zero point.
        variants: entries per scan: of the slices as they are (false), of mirrored ones (true).
        encode: returns tokens (N, C, h, w) of slices as stored (N, H, W), their scale and zero point.
        batch_size: slices per call of `encode`.
    """

    def __init__(
        self,
        cache: TokenCache,
        masked: MaskedCases,
        variants: Sequence[bool],
        encode: Callable[[Tensor, float, float], Tensor],
        batch_size: int,
    ) -> None:
        self.cache, self.masked, self.variants = cache, masked, variants
        self.encode, self.batch_size = encode, batch_size
        # Slices with a row of their own: those of the case, one that is empty, and two at the edges.
        self.different = {
            str(key): min(int(last) - int(first) + 4, len(mask))
            for keys, (first, last), mask in zip(masked.keys, masked.spans, masked.masks, strict=True)
            for key in keys
        }

    def run(self, keys: Sequence[str], gigabytes: float, progress: bool) -> list[str]:
        """Compute the missing entries in the order of `keys`; return the keys of the scans with all entries.

        Args:
            keys: keys of the scans.
            gigabytes: size of all entries of the cache at most.
            progress: show on stderr how many scans are done.
        """
        for folder in self.cache.folders:
            remove_leftovers(folder, "*/.*.tmp")
        missing = [scan for key in keys if (scan := self._missing(key)).variants]
        fitting = self._fitting(missing, gigabytes)
        beyond = missing[len(fitting) :]
        bar = ProgressReport(len(fitting), "tokens", show=progress)
        with bar, ThreadPoolExecutor(1) as writer:
            writing: deque[Future[None]] = deque()
            for scan in fitting:
                for mirrored, tokens, rows in self._encoded(scan):
                    writing.append(writer.submit(self.cache.write, scan.key, tokens, rows, mirrored))
                    # One scan is written while the next one is encoded.
                    while len(writing) > 1:
                        writing.popleft().result()
                bar.advance()
            while writing:
                writing.popleft().result()
        if beyond:
            whole = self.cache.size() + sum(map(self._bytes, beyond))
            _log.warning(
                "tokens of %d of %d scans are cached (%.2f GB; all would take %.2f GB); the others are "
                "encoded in every epoch. --cache-gb N allows N GB.",
                *(len(keys) - len(beyond), len(keys), self.cache.size() / GIGABYTE, whole / GIGABYTE),
            )
        absent = {scan.key for scan in beyond}
        return [key for key in keys if key not in absent]

    def _missing(self, key: str) -> _Missing:
        return _Missing(key, [each for each in self.variants if self.cache.read(key, each) is None])

    def _fitting(self, missing: Sequence[_Missing], gigabytes: float) -> list[_Missing]:
        """Return the first scans whose entries fit into the cache and on the disk."""
        used = self.cache.size()
        limit = gigabytes * GIGABYTE
        if missing:
            limit = min(limit, used + FREE_SHARE * shutil.disk_usage(_existing(self.cache.folders[0])).free)
        fitting = []
        for scan in missing:
            used += self._bytes(scan)
            if used > limit:
                break
            fitting.append(scan)
        return fitting

    def _bytes(self, scan: _Missing) -> int:
        """Return how many bytes the missing entries of a scan will take, by its span."""
        return self.different[scan.key] * self.cache.slice_bytes * len(scan.variants)

    def _encoded(self, scan: _Missing) -> Iterator[tuple[bool, np.ndarray, np.ndarray]]:
        """Yield each missing entry of a scan: whether mirrored, tokens (n, C, h, w) float16, rows (D,)."""
        slices = self.masked.store.slices(scan.key)
        numbers, rows = distinct_slices(slices)
        chosen = torch.from_numpy(slices[numbers])
        for mirrored in scan.variants:
            # Filled part by part: a scan of a large encoder takes gigabytes.
            tokens = np.empty((len(chosen), *self.cache.shape), dtype=np.float16)
            for start in range(0, len(chosen), self.batch_size):
                part = chosen[start : start + self.batch_size]
                encoded = self.encode(part.flip(-1) if mirrored else part, *self.masked.scales[scan.key])
                tokens[start : start + len(part)] = encoded.half().cpu().numpy()
            yield mirrored, tokens, rows


def _existing(folder: Path) -> Path:
    """Return a folder, or its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
