"""3-D encoders that BrainDINO is compared with, named as in `--model.encoder NAME:FILE`."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from braindino.errors import BraindinoError
from braindino.scans.seen import Seen

if TYPE_CHECKING:
    from braindino.encoders.volumes.base import VolumeEncoder

NAMES = {
    "brainiac": ("braindino.encoders.volumes.brainiac", "BrainIACEncoder"),
    "bm_mae": ("braindino.encoders.volumes.bm_mae", "BMMAEEncoder"),
    "brainmvp": ("braindino.encoders.volumes.brainmvp", "BrainMVPEncoder"),
    "brainsegfounder": ("braindino.encoders.volumes.swin", "SwinEncoder"),
}


def load_volume_encoder(spec: str, seed: int = 0) -> "VolumeEncoder":
    """The encoder that `NAME:FILE` names; `NAME:scratch` has the published sizes and random weights.

    The file may also be the folder of a run.

    Raises:
        BraindinoError: no such name or file, or a file that holds another network.
    """
    from braindino.encoders.weight_files import last_checkpoint, read_file

    name, _, where = spec.partition(":")
    module, cls = NAMES[name]
    kind = getattr(import_module(module), cls)
    if where == "scratch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: VolumeEncoder = kind.of(None, spec)
        network.seen = Seen()
        return network
    path = Path(where)
    if (path / "checkpoints").is_dir():
        path = last_checkpoint(path)
    if not path.is_file():
        raise BraindinoError(
            f"encoder {spec!r}: there is no file {where!r}.\n"
            f"Give the path of {kind.published} after `{name}:`, or `{name}:scratch` for random weights."
        )
    return kind.of(read_file(path), str(path))
