"""Cache patch tokens of scans on disk, slice by slice, for decoders of slices that do not change."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from braindino.encoders.base import Encoder
from braindino.encoders.cache import EntryFolder, Precision
from braindino.errors import BraindinoError, NotFiniteError
from braindino.files import atomic_write

SUFFIX = ".safetensors"
OPEN_FILES = 64
BYTES = 2  # of a float16


class TokenCache:
    """Cache patch tokens of scans on disk, in float16.

    Entries are `root/<encoder>/<setting>/<xx>/<scan key>.safetensors`; the setting is
    `tokens-<precision>-blocks<blocks>-<H>x<W>`, with `-mirrored` for slices mirrored left to right. They
    contain `tokens` (n, C, h, w) and `rows` (D,), the row of each slice: equal slices, as the empty ones,
    share a row. As with `FeatureCache` an entry is never stale, takes its name once it is complete, and
    counts as absent if it cannot be read.

    Args:
        root: folder of the cache, shared by all encoders.
        encoder: the tokens are its own.
        blocks: numbers of the blocks whose tokens are saved side by side, from 0.
        size: rows and columns of the slices that the encoder gets, multiples of its patch.
        precision: precision of the computation.

    Attributes:
        shape: channels, rows and columns of the tokens of a slice, (C, h, w).
    """

    def __init__(
        self,
        root: Path | str,
        encoder: Encoder,
        blocks: Sequence[int],
        size: Sequence[int],
        precision: Precision = "float32",
    ) -> None:
        assert encoder.patch_size is not None
        rows, columns = size
        name = f"tokens-{precision}-blocks{'.'.join(map(str, blocks))}-{rows}x{columns}"
        self._folders = [EntryFolder(root, encoder, f"{name}{part}", SUFFIX) for part in ("", "-mirrored")]
        grid = rows // encoder.patch_size, columns // encoder.patch_size
        self.shape = (len(blocks) * encoder.embed_dim, *grid)

    @property
    def folders(self) -> list[Path]:
        """Return the folders of new entries, of slices as they are and of mirrored ones."""
        return [folder.writable for folder in self._folders]

    @property
    def slice_bytes(self) -> int:
        """Return the bytes of the tokens of a slice."""
        return int(np.prod(self.shape)) * BYTES

    def size(self) -> int:
        """Return the bytes of all entries, of mirrored slices too."""
        return sum(folder.size() for folder in self._folders)

    def path(self, key: str, mirrored: bool = False) -> Path:
        """Return the path of a scan's entry, which need not exist."""
        return self._folders[mirrored].path(key)

    def read(self, key: str, mirrored: bool = False) -> "TokenEntry | None":
        """Return the entry of a scan, mapped from disk, or None without a usable one.

        Args:
            key: key of the scan.
            mirrored: return the tokens of the slices mirrored left to right.
        """
        try:
            entry = TokenEntry(self.path(key, mirrored))
        except (OSError, SafetensorError, KeyError):
            return None
        return entry if entry.fits(self.shape) else None

    def write(self, key: str, tokens: np.ndarray, rows: np.ndarray, mirrored: bool = False) -> None:
        """Save the entry of a scan, atomically.

        Args:
            key: key of the scan.
            tokens: tokens of its different slices (n, C, h, w) float16.
            rows: row in `tokens` of each slice, (D,).
            mirrored: the tokens are those of the slices mirrored left to right.

        Raises:
            NotFiniteError: a token is not finite in float16.
        """
        if not np.isfinite(tokens).all():
            raise NotFiniteError(
                f"the encoder's tokens of scan {key} are not finite as float16; its weights are damaged."
            )
        content = save({"tokens": tokens, "rows": rows.astype(np.int32)})
        with atomic_write(self.path(key, mirrored), "wb") as file:
            file.write(content)


class TokenEntry:
    """Read the tokens of a scan, slice by slice.

    Args:
        path: an entry of a `TokenCache`.

    Raises:
        OSError: there is no file.
        SafetensorError: it is damaged, or lacks a tensor.
    """

    def __init__(self, path: Path) -> None:
        file: Any = safe_open(path, framework="pt")
        self._tokens = file.get_slice("tokens")
        self._rows: Tensor = file.get_tensor("rows")

    def fits(self, shape: tuple[int, int, int]) -> bool:
        """Return whether every slice has float16 tokens of a shape (C, h, w)."""
        count, *each = self._tokens.get_shape()
        typed = self._tokens.get_dtype() == "F16" and self._rows.dtype == torch.int32 and self._rows.ndim == 1
        if not typed or tuple(each) != shape or not len(self._rows):
            return False
        return int(self._rows.min()) >= 0 and int(self._rows.max()) < count

    def __len__(self) -> int:
        """Return the number of slices of the scan."""
        return len(self._rows)

    def __getitem__(self, number: int) -> Tensor:
        """Return the tokens of a slice, (C, h, w) float16."""
        tokens: Tensor = self._tokens[int(self._rows[number])]
        return tokens


class CachedTokens:
    """Tokens of the cached scans of a study; a copy in another process opens the files again.

    Args:
        cache: cache with an entry for every key.
        keys: keys of the cached scans.
    """

    def __init__(self, cache: TokenCache, keys: Iterable[str]) -> None:
        self.cache, self.keys = cache, frozenset(keys)
        self._open: OrderedDict[tuple[str, bool], TokenEntry] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without open files."""
        return {**vars(self), "_open": OrderedDict()}

    def slice(self, key: str, number: int, mirrored: bool = False) -> Tensor:
        """Return the tokens of a slice, (C, h, w) float16; the last `OPEN_FILES` files stay open.

        Args:
            key: key of a cached scan.
            number: number of the slice.
            mirrored: return the tokens of the mirrored slice.

        Raises:
            BraindinoError: the entry was deleted or damaged in the meantime.
        """
        name = key, mirrored
        if name not in self._open:
            entry = self.cache.read(key, mirrored)
            if entry is None:
                raise BraindinoError(
                    f"{self.cache.path(key, mirrored)} was deleted or damaged since; start again."
                )
            self._open[name] = entry
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        return self._open[name][number]


def distinct_slices(slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the different slices, and for each slice the position of its number there.

    Args:
        slices: (D, H, W) as stored.

    Returns:
        (n,) numbers of the first slice of each content, (D,) positions.
    """
    seen: dict[bytes, int] = {}
    rows = np.array([seen.setdefault(plane.tobytes(), len(seen)) for plane in slices])
    return np.unique(rows, return_index=True)[1], rows
