"""Read and write a store: prepared scans on disk, memory-mapped, and their tables."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import pandas as pd

from braindino.csv_text import csv_text
from braindino.errors import BraindinoError
from braindino.files import (
    check_shape,
    is_read_only,
    read_json,
    write_if_changed,
    write_json_once,
)
from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import Geometry
from braindino.scans.seen import FILE_DIGEST, is_scan
from braindino.scans.skull_stripping import show_command
from braindino.scans.store.layout import ARRAY_HEADER, StoreLayout
from braindino.scans.store.ledger import SCAN_IDENTITY, Record, ledger_stamp
from braindino.scans.store.paths import no_store
from braindino.scans.store.records import StoreRecords
from braindino.scans.store.worker import MEASURES

INDEX_COLUMNS = ("key", "path", *SCAN_IDENTITY, *MEASURES)
REJECT_COLUMNS = ("path", "reason", *SCAN_IDENTITY)
OPEN_MAPS = 64
_FORMAT = 2  # since 2 the sidecar contains the part of a scan that its grid covers


class _Contract(TypedDict):
    """Describe contract.json.

    Attributes:
        preprocessing: a contract as `Preprocessing.to_dict` returns it.
        strip_cmd: skull-stripping command, or None.
    """

    preprocessing: dict[str, Any]
    strip_cmd: str | None


class Store:
    """Hold prepared scans of one contract.

    Any number of processes may read and fill one store. The slices of a key never change. The files are
    listed in docs/file_formats.md, "Store".

    Attributes:
        history: records of the ledger.
    """

    def __init__(self, layout: StoreLayout, may_strip: bool = False) -> None:
        """Initialise a store; use `create` or `open` instead.

        Args:
            layout: folder, contract and command.
            may_strip: True if the user gave the skull-stripping command.
        """
        self._layout = layout
        self._may_strip = may_strip
        self._dtype = np.dtype(layout.contract.dtype)
        self._maps: OrderedDict[str, np.memmap[Any, Any]] = OrderedDict()
        self.history = StoreRecords(layout)

    @classmethod
    def create(cls, path: Path | str, contract: Preprocessing, strip_cmd: str | None = None) -> Self:
        """Create a store, or open an existing one of the same contract.

        Args:
            path: folder of the store.
            contract: contract by which its scans are prepared.
            strip_cmd: skull-stripping command; None creates a store without one, or opens a store with any
                command for reading only (see `open`).

        Raises:
            BraindinoError: the store has a different contract or command; both are shown.
        """
        root = Path(path)
        if not (root / "contract.json").exists():
            foreign = root.exists() and (not root.is_dir() or any(map(_is_foreign, root.iterdir())))
            # A job that started at the same time may have created the store meanwhile.
            if foreign and not (root / "contract.json").exists():
                raise BraindinoError(
                    f"{root}: neither empty nor a store; choose another folder for the store"
                )
            content = {"format": _FORMAT, "preprocessing": contract.to_dict(), "strip_cmd": strip_cmd}
            write_json_once(root / "contract.json", content)
        store = cls.open(root, strip_cmd)
        if differences := store.contract.difference(contract):
            raise BraindinoError(
                f"{root}: this store was prepared with a different contract ({'; '.join(differences)}); "
                f"choose another store.\nstore: {store.contract}\nrequested: {contract}"
            )
        return store

    @classmethod
    def contract_at(cls, path: Path | str) -> Preprocessing | None:
        """Return the contract of the store in a folder, or None if there is no store.

        Args:
            path: folder of the store, which need not exist.
        """
        return cls.open(path).contract if (Path(path) / "contract.json").exists() else None

    @classmethod
    def open(cls, path: Path | str, strip_cmd: str | None = None) -> Self:
        """Open an existing store.

        A store may come from an untrusted source, and its command is a program: `fill` runs it only if the
        caller repeats it here, because the user gave it.

        Args:
            path: folder of the store.
            strip_cmd: the skull-stripping command as the user gave it; None if there was none.

        Raises:
            BraindinoError: there is no store, its format is unknown, or its command is different.
        """
        root = Path(path).absolute()
        file = root / "contract.json"
        if not file.is_file():
            raise BraindinoError(no_store(path))
        content = read_json(file, dict[str, Any])
        if content.get("format") != _FORMAT:
            raise BraindinoError(
                f"{file}: format {content.get('format')}, expected {_FORMAT}; make a new store"
            )
        if not {"preprocessing", "strip_cmd"} <= content.keys():
            raise BraindinoError(f"{file}: damaged or edited, it has no contract; make a new store")
        check_shape(content, _Contract, file)
        contract = Preprocessing.from_file(content["preprocessing"], file)
        store = cls(StoreLayout(root, contract, content["strip_cmd"]), may_strip=strip_cmd is not None)
        if strip_cmd is not None:
            store.check_strip_cmd(strip_cmd)
        return store

    @property
    def path(self) -> Path:
        """Return the folder, absolute."""
        return self._layout.root

    @property
    def contract(self) -> Preprocessing:
        """Return the contract by which every scan was prepared."""
        return self._layout.contract

    @property
    def strip_cmd(self) -> str | None:
        """Return the skull-stripping command that every scan went through before, or None."""
        return self._layout.strip_cmd

    @property
    def may_strip(self) -> bool:
        """Return True if the user gave the skull-stripping command, so that `fill` may run it."""
        return self._may_strip

    def check_strip_cmd(self, wanted: str | None) -> None:
        """Raise BraindinoError unless `wanted` is the command that the scans went through."""
        if self.strip_cmd != wanted:
            raise BraindinoError(
                f"{self.path}: this store was filled with another skull-stripping command.\n"
                f"store: {show_command(self.strip_cmd)}\nrequested: {show_command(wanted)}"
            )

    @property
    def layout(self) -> StoreLayout:
        """Return the paths of the store's files."""
        return self._layout

    def refresh(self) -> None:
        """Read the ledger again, because another process may have filled the store."""
        self.history.refresh()

    @property
    def records(self) -> dict[str, Record]:
        """Return the latest record of each path, as read on first use or after `refresh`."""
        return self.history.by_path

    def index(self) -> pd.DataFrame:
        """Return one row per prepared file, by path, with INDEX_COLUMNS; copies share a key."""
        return _table(self.records, "key", INDEX_COLUMNS).astype(
            {name: "float64" if name in ("scale", "zero_point") else "int64" for name in MEASURES}
        )

    def rejects(self) -> pd.DataFrame:
        """Return one row per file that could not be used: path, reason, identity."""
        return _table(self.records, "reason", REJECT_COLUMNS)

    def key_of(self, path: Path | str) -> str | None:
        """Return the key of a file that was prepared and is unchanged (`is_unchanged`), or None."""
        record = self.records.get(absolute(path))
        return str(record["key"]) if record is not None and self.history.is_unchanged(record) else None

    def digests(self, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the digests of each scan in the form of `Seen.scans`, empty if unrecorded.

        They are read from the ledger, or from the sidecar if an earlier version wrote the ledger.

        Args:
            keys: keys of the scans.

        Returns:
            key -> digests.
        """
        by_key = {str(record["key"]): record for record in self.records.values() if "key" in record}
        return {key: self._digests_of(key, by_key.get(key, {})) for key in dict.fromkeys(keys)}

    def _digests_of(self, key: str, record: Record) -> tuple[str, ...]:
        if "sha256" not in record:
            try:
                record = self.sidecar(key)
            except (OSError, BraindinoError):
                return ()
        digests = [f"{FILE_DIGEST}{record.get('sha256')}", str(record.get("slices_digest"))]
        return tuple(filter(is_scan, digests))

    def slices(self, key: str) -> "np.memmap[Any, Any]":
        """Return all slices of a scan, (D, H, W), memory-mapped; the last OPEN_MAPS maps stay open."""
        if key in self._maps:
            self._maps.move_to_end(key)
            return self._maps[key]
        file = self._layout.array(key)
        try:
            length = file.stat().st_size - ARRAY_HEADER
        except FileNotFoundError:
            raise _missing(file) from None
        if length <= 0 or length % self._layout.plane_bytes:
            raise BraindinoError(f"{file}: damaged; run `braindino prepare` again to redo it")
        shape = (length // self._layout.plane_bytes, *self.contract.size)
        mapped = np.memmap(file, self.contract.dtype, "r", offset=ARRAY_HEADER, shape=shape)
        self._maps[key] = mapped
        if len(self._maps) > OPEN_MAPS:
            self._maps.popitem(last=False)
        return mapped

    def slice(self, key: str, i: int) -> np.ndarray:
        """Return one slice (H, W), copied; no file stays open."""
        file, size = self._layout.array_name(key), self._layout.plane_bytes
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            raise _missing(file) from None
        try:
            content = os.pread(descriptor, size, ARRAY_HEADER + i * size) if i >= 0 else b""
        finally:
            os.close(descriptor)
        if len(content) != size:
            raise IndexError(f"{file}: no slice {i}")
        return np.frombuffer(content, self._dtype).reshape(self._layout.contract.size)

    def sidecar(self, key: str) -> dict[str, Any]:
        """Return the sidecar of a scan: geometry, spacing, statistics, scale, zero_point, source.

        The source is the path of the file relative to the store; in older stores it is absolute.
        """
        return self._layout.read_sidecar(key)

    def geometry(self, key: str) -> Geometry:
        """Return the transform between a scan's native grid and its slices."""
        return Geometry.from_dict(self.sidecar(key)["geometry"])

    def write_tables(self) -> None:
        """Write index.csv and rejects.csv from the ledger if they differ and the store is writable."""
        # Twice if the ledger grew meanwhile, so that the rows of a job that ended just now are not lost.
        for _ in range(2):
            stamp = ledger_stamp(self._layout.ledger)
            self.refresh()
            for name, table in (("index.csv", self.index()), ("rejects.csv", self.rejects())):
                # File names that are not UTF-8 are written as their bytes.
                content = csv_text(table).encode("utf-8", "surrogateescape")
                try:
                    write_if_changed(self.path / name, content)
                except OSError as error:
                    if not is_read_only(error):
                        raise
            if stamp == ledger_stamp(self._layout.ledger):
                break

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without maps and records, which a loader's worker opens again lazily."""
        return {**self.__dict__, "_maps": OrderedDict(), "history": StoreRecords(self._layout)}


def _is_foreign(path: Path) -> bool:
    """Return whether a file is not the contract that another process is about to write."""
    return not (path.name.startswith(".") and "contract.json." in path.name)


def _missing(file: Path | str) -> BraindinoError:
    return BraindinoError(f"{file}: gone; run `braindino prepare` again to redo it")


def absolute(path: Path | str) -> str:
    """Return an absolute path without `..`; links (of an annex) are not followed."""
    return os.path.abspath(path)  # noqa: PTH100


def _table(records: dict[str, Record], required: str, columns: Sequence[str]) -> pd.DataFrame:
    chosen = [records[path] for path in sorted(records) if required in records[path]]
    table = pd.DataFrame({name: [record[name] for record in chosen] for name in columns if name != "path"})
    # As objects, because pandas' Arrow strings cannot hold a path that is not UTF-8.
    paths = pd.Series([record["path"] for record in chosen], dtype=object)
    table.insert(columns.index("path"), "path", paths)
    return table
