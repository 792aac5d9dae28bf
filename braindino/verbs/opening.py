"""Open the objects that several verbs use: an encoder, the store of its contract, a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from braindino.errors import BraindinoError
from braindino.progress import announce

if TYPE_CHECKING:
    import torch

    from braindino.encoders.base import Encoder
    from braindino.scans.store.store import Store

Device = Literal["auto", "cpu", "cuda", "mps"]


def as_paths(paths: Sequence[Path | str] | Path | str) -> list[Path]:
    """Return one path or several as a list.

    Args:
        paths: one or several.
    """
    return [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]


def check_at_least_one(**values: int) -> None:
    """Raise BraindinoError for a number below 1.

    Args:
        values: name of an argument -> its value.

    Raises:
        BraindinoError: names the option.
    """
    for name, value in values.items():
        if value < 1:
            raise BraindinoError(f"--{name.replace('_', '-')} {value}: expected 1 or more.")


def open_encoder(
    spec: str, store: Path, prepare: bool, strip_cmd: str | None = None, progress: bool = True
) -> "tuple[Encoder, Store]":
    """Return an encoder, and the store prepared by its contract.

    Weights without a contract take that of an existing store.

    Args:
        spec: the encoder, in any form that `load_encoder` reads.
        store: folder of prepared scans.
        prepare: make a store that does not exist.
        strip_cmd: skull-stripping command that the user gave.
        progress: print a line when a store is made.

    Raises:
        BraindinoError: no such encoder, no store, or one prepared with a different contract or command.
    """
    from braindino.encoders.checkpoints import load_encoder
    from braindino.scans.store.store import Store

    check_store(store, prepare, progress)
    encoder = load_encoder(spec, Store.contract_at(store))
    return encoder, Store.create(store, encoder.preprocessing, strip_cmd)


def check_store(store: Path, prepare: bool, progress: bool = True) -> None:
    """Raise BraindinoError for a missing store with others near by: its name may be misspelt.

    If no other store lies near by, the caller makes the store, and a line is printed about it.

    Args:
        store: folder of prepared scans.
        prepare: make the store in any case.
        progress: print that line.

    Raises:
        BraindinoError: the store does not exist, others lie near by, and `prepare` is false.
    """
    from braindino.scans.store.paths import no_store, stores_near

    if prepare or (store / "contract.json").exists():
        return
    if stores_near(store):
        raise BraindinoError(no_store(store, "`--prepare` lets this command make it"))
    announce(f"{store}: no store there, and none near by; made by the encoder's contract", progress)


def open_device(name: Device) -> "torch.device":
    """Return a torch device; `auto` is the accelerator if the machine has one.

    Args:
        name: name of the device.

    Raises:
        BraindinoError: torch finds no such device.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        accelerators: tuple[Device, ...] = ("cuda", "mps")
        name = next((device for device in accelerators if present[device]), "cpu")
    if not present[name]:
        raise BraindinoError(f"--device {name}: torch finds none here; use cpu, or auto.")
    return torch.device(name)
