"""Cache features on disk under digests of the encoder and of the scan."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError, NotFiniteError
from braindino.files import atomic_write, can_write

Precision = Literal["float32", "bfloat16"]
Level = Literal["slice", "slice_patch", "patch", "scan"]
FALLBACK_FOLDER = "braindino_features"  # for the features of scans in a read-only store
STORED = {"float32": np.float32, "bfloat16": np.float16}


class EntryFolder:
    """Name the files of one encoder and setting: `root/<encoder>/<name>/<xx>/<scan key><suffix>`.

    If `root` cannot be written (a read-only store), its entries are used, and new ones are saved in
    `braindino_features/` of the current folder.

    Args:
        root: folder of the cache, shared by all encoders.
        encoder: its digest is part of the path.
        name: name of the folder of the setting.
        suffix: suffix of the files.

    Attributes:
        folder: folder of the entries in `root`.
    """

    def __init__(self, root: Path | str, encoder: Encoder, name: str, suffix: str = ".npy") -> None:
        self.folder, self._suffix = Path(root) / encoder.digest[:32] / name, suffix
        self._fallback: Path | None = None
        if not can_write(self.folder):
            digest = hashlib.sha256(str(Path(root).absolute()).encode(errors="surrogateescape")).hexdigest()
            self._fallback = Path(FALLBACK_FOLDER, digest[:8]).absolute() / self.folder.relative_to(root)

    @property
    def writable(self) -> Path:
        """Return the folder of new entries, which need not exist."""
        return self._fallback or self.folder

    def path(self, key: str) -> Path:
        """Return the path of a scan's entry, which need not exist."""
        entry = self.folder / key[:2] / f"{key}{self._suffix}"
        if self._fallback is None or entry.is_file():
            return entry
        return self._fallback / key[:2] / entry.name

    def size(self) -> int:
        """Return the bytes of all entries."""
        folders = {self.folder, self.writable}
        return sum(file.stat().st_size for each in folders for file in each.glob(f"*/*{self._suffix}"))


class FeatureCache:
    """Cache features of scans on disk.

    Entries are `root/<encoder>/<level>-<precision>/<xx>/<scan key>.npy`, each (D, width). The encoder's part
    of the path is a digest of its weights and preprocessing, the scan's is one of its content and contract:
    an entry is never stale, and two processes that write the same one write the same numbers. An entry takes
    its name once it is complete; a file that cannot be read as one counts as absent. If `root` cannot be
    written (a read-only store), its entries are used, and new ones are saved in `braindino_features/` of the
    current folder.

    Args:
        root: folder of the cache, shared by all encoders.
        encoder: the features are its own.
        precision: "float32" computes and saves float32; "bfloat16" computes under autocast and saves float16
            (half the space, three significant digits).
        level: "slice" saves a slice's CLS token, width embed_dim; "slice_patch" the mean of its patch tokens
            beside it, width 2 * embed_dim; "patch" all its patch tokens after the last norm, width rows *
            columns * embed_dim (`patch_grid`), features of a patch side by side. A 3-D encoder saves its one
            vector per scan as level "scan", D = 1, for "slice" and "patch" alike.

    Attributes:
        folder: folder of the encoder, level and precision.
        level: level of the entries.
        dtype: type of the entries.
        width: features of a row.

    Raises:
        BraindinoError: an unknown precision, or a level that the encoder does not have.
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
        self._files = EntryFolder(root, encoder, f"{self.level}-{precision}")
        self.folder = self._files.folder
        self.dtype = STORED[precision]
        rows, columns = patch_grid(encoder) if level == "patch" else (1, 2 if level == "slice_patch" else 1)
        self.width = rows * columns * encoder.embed_dim

    def path(self, key: str) -> Path:
        """Return the path of a scan's entry, which need not exist."""
        return self._files.path(key)

    def read(self, key: str) -> np.ndarray | None:
        """Return the entry of a scan (D, width), mapped from disk, or None without a usable one."""
        try:
            values: np.ndarray = np.load(self.path(key), mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        usable = values.ndim == 2 and values.shape[1] == self.width and values.dtype == self.dtype
        return values if usable else None

    def write(self, key: str, values: np.ndarray) -> None:
        """Save the entry of a scan, atomically.

        Args:
            key: key of the scan.
            values: features (D, width).

        Raises:
            NotFiniteError: a feature is not finite in the cache's type.
        """
        entry = values.astype(self.dtype, copy=False)
        if not np.isfinite(entry).all():
            raise NotFiniteError(
                f"the encoder's features of scan {key} are not finite as {entry.dtype}.\n"
                "Use precision float32; if that does not help, its weights are damaged."
            )
        buffer = io.BytesIO()
        np.save(buffer, entry)
        with atomic_write(self.path(key), "wb") as file:
            file.write(buffer.getbuffer())


class Features(Mapping[str, Tensor]):
    """Features by scan key, each (D, width), mapped from the cache on access.

    Args:
        cache: cache with an entry for every key.
        keys: keys of the scans, in the order of iteration.
    """

    def __init__(self, cache: FeatureCache, keys: Sequence[str]) -> None:
        self.cache = cache
        self._keys = dict.fromkeys(keys)

    def __getitem__(self, key: str) -> Tensor:
        """Return the features of a scan in the cache's precision.

        Raises:
            KeyError: the scan was not requested.
            BraindinoError: the entry was deleted or damaged in the meantime.
        """
        if key not in self._keys:
            raise KeyError(key)
        values = self.cache.read(key)
        if values is None:
            raise BraindinoError(f"{self.cache.path(key)} was deleted or damaged since; start again.")
        return torch.from_numpy(values)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys in the order in which they were requested."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self._keys)


def patch_grid(encoder: Encoder) -> tuple[int, int]:
    """Return the rows and columns of patches in a slice.

    Raises:
        BraindinoError: the encoder has no patches.
    """
    if encoder.patch_size is None:
        raise BraindinoError(f"{type(encoder).__name__} has no patch tokens; use a vision transformer.")
    height, width = encoder.preprocessing.size
    return height // encoder.patch_size, width // encoder.patch_size
