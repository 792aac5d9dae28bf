"""Open a store, or create it, by a preset contract with changed fields."""

from pathlib import Path
from typing import Any, Literal

from braindino.scans.contract import Preprocessing
from braindino.scans.skull_stripping import check_strip_cmd
from braindino.scans.store.store import Store

Unset = Literal["none"]


def open_or_create(
    path: Path,
    contract: str | Preprocessing | None = None,
    depth: int | Unset | None = None,
    size: int | tuple[int, int] | None = None,
    spacing: float | Unset | None = None,
    dtype: str | None = None,
    strip_cmd: str | None = None,
) -> Store:
    """Open a store, or create it if it does not exist; None keeps what the contract has.

    Args:
        path: folder of the store.
        contract: a preset, or a contract; by default that of the store, `paper` for a new store.
        depth: number of slices, or "none" for the number that a scan has.
        size: side of a slice in pixels, or (rows, columns).
        spacing: voxel size [mm] in every direction, or "none".
        dtype: type of stored slices.
        strip_cmd: skull-stripping command; see `Store.create`.

    Raises:
        BraindinoError: an unknown preset, a wrong command, or a store with a different contract.
    """
    changes: dict[str, Any] = {}
    if depth is not None:
        changes["depth"] = None if depth == "none" else depth
    if size is not None:
        changes["size"] = (size, size) if isinstance(size, int) else size
    if spacing is not None:
        changes["spacing"] = None if spacing == "none" else spacing
    if dtype is not None:
        changes["dtype"] = dtype
    if strip_cmd is not None:
        check_strip_cmd(strip_cmd)
    if contract is None and (path / "contract.json").is_file():
        contract = Store.open(path).contract
    if isinstance(contract, Preprocessing):
        return Store.create(path, contract.replace(**changes), strip_cmd)
    return Store.create(path, Preprocessing.preset(contract or "paper", **changes), strip_cmd)
