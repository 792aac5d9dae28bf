"""3-D encoders that BrainDINO is compared with, by the NAME of `--model.encoder NAME:FILE`."""

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
    """Return the encoder that `NAME:FILE` names.

    Args:
        spec: `NAME:FILE` with a file of weights or the folder of a run; `NAME:scratch` has the published
            sizes and random weights.
        seed: seed of random weights.

    Raises:
        BraindinoError: no such name or file, or a file that holds another network.
    """
    from braindino.encoders.weight_files import last_checkpoint, read_file

    name, _, where = spec.partition(":")
    module, class_name = NAMES[name]
    encoder_type: type[VolumeEncoder] = getattr(import_module(module), class_name)
    if where == "scratch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = encoder_type.from_checkpoint(None, spec)
        network.seen = Seen()
        return network
    path = Path(where)
    if (path / "checkpoints").is_dir():
        path = last_checkpoint(path)
    if not path.is_file():
        raise BraindinoError(
            f"encoder {spec!r}: there is no file {where!r}.\n"
            f"Give the path of {encoder_type.published} after `{name}:`, or `{name}:scratch` for random "
            "weights."
        )
    return encoder_type.from_checkpoint(read_file(path), str(path))
