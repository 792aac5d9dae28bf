"""What several verbs open alike: an encoder, the store of its contract, a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from braindino.encoders.base import Encoder
    from braindino.scans.store import Store

Device = Literal["auto", "cpu", "cuda", "mps"]


def open_encoder(spec: str, store: Path, strip_cmd: str | None = None) -> "tuple[Encoder, Store]":
    """Return the encoder and the store of its contract, which is made if it does not exist.

    Weights without a contract take that of an existing store.

    Args:
        spec: the encoder, in any form that `load_encoder` reads.
        store: folder of prepared scans.
        strip_cmd: skull-stripping command that the user gave.

    Raises:
        BraindinoError: no such encoder, or the store was prepared with a different contract or command.
    """
    from braindino.encoders.checkpoints import load_encoder
    from braindino.scans.store import Store

    there = Store.open(store) if (store / "contract.json").exists() else None
    encoder = load_encoder(spec, None if there is None else there.contract)
    return encoder, Store.create(store, encoder.preprocessing, strip_cmd)


def open_device(name: Device) -> "torch.device":
    """`auto`: the accelerator if there is one. Raises BraindinoError if the one named is not there."""
    import torch

    from braindino.errors import BraindinoError

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if present["cuda"] else "mps" if present["mps"] else "cpu"
    if not present[name]:
        raise BraindinoError(f"--device {name}: torch finds none here; use cpu, or auto.")
    return torch.device(name)
