"""Write an encoder as a folder that timm and braindino load, with a model card."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from braindino.encoders.checkpoints import (
    CONFIG_FILE,
    NORM_EPS,
    PEOPLE_FILE,
    WEIGHTS_FILE,
    read_pretraining_checkpoint,
)
from braindino.encoders.graph_export import ONNX, TORCH, check_onnx, write_graphs
from braindino.encoders.model_card import licence_notice, model_card
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.encoders.weight_files import last_checkpoint
from braindino.errors import BraindinoError
from braindino.files import atomic_write, write_json
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen
from braindino.version import __version__


def export_encoder(
    run: Path,
    out: Path,
    licence: str | None = None,
    onnx: bool = False,
    torch_export: bool = False,
    identify: bool = False,
) -> ViTEncoder:
    """Write the EMA teacher of a pretraining run as weights, `config.json` and a model card.

    `timm.create_model("local-dir:<out>", pretrained=True)` and `load_encoder(out)` give the same features bit
    for bit, unless the run set `model_args: {norm_eps: ...}`, which timm cannot load; the model card then
    lists the lines of code that set it.

    Args:
        run: a run folder of `braindino fit` (its newest checkpoint is taken) or one `.ckpt` file.
        out: the folder to write; files of an earlier export in it are replaced.
        licence: licence of the weights, as a model hub names it (`cc-by-nc-4.0`); to be stated later if
            omitted.
        onnx: also write the network as an ONNX graph, see `write_graphs`.
        torch_export: also write it as `torch.export.load` reads it.
        identify: list the people seen in pretraining by their keys; by default by digests, which a known key
            can be compared with, but which do not show the keys.

    Returns:
        The encoder that was written; its `seen` is what the folder lists.

    Raises:
        BraindinoError: no checkpoint at `run`, one without an encoder, or `out` exists and is no export.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CONFIG_FILE).is_file())):
        raise BraindinoError(f"{out}: exists and is not an earlier export; name a new folder.")
    if not run.exists():
        raise BraindinoError(f"{run}: no such run folder or checkpoint; name one that `braindino fit` wrote.")
    if onnx:
        check_onnx()
    path = last_checkpoint(run) if run.is_dir() else run
    described, weights, content = read_pretraining_checkpoint(path)
    contract = Preprocessing.from_dict(described["preprocessing"])
    model = create_vit(described["architecture"], **described["model_args"])
    model.load_state_dict(weights)
    encoder = ViTEncoder(model, contract, described["architecture"], described["model_args"])
    out.mkdir(parents=True, exist_ok=True)
    encoder.seen = _list_seen(encoder, Seen.of_checkpoint(content), out, identify)
    state = {name: value.detach().to(torch.float32).contiguous() for name, value in weights.items()}
    with atomic_write(out / WEIGHTS_FILE, "wb") as file:
        file.write(safetensors.torch.save(state, metadata={"format": "pt"}))
    for graph in (ONNX, TORCH):
        (out / graph).unlink(missing_ok=True)  # of an earlier export
    encoder.freeze()
    graphs = [graph.name for graph in write_graphs(encoder, out, onnx, torch_export)]
    step = int(content.get("global_step", 0))
    card = model_card(encoder, step, licence, graphs)
    for name, text in (("README.md", card), ("LICENSE", licence_notice(licence))):
        with atomic_write(out / name) as file:
            file.write(text)
    write_json(out / CONFIG_FILE, _config(encoder, step))  # last: a folder with it is complete
    return encoder


def _list_seen(encoder: ViTEncoder, seen: Seen | None, out: Path, identify: bool) -> Seen | None:
    """Write `pretraining_people.txt`, unless `identify` with digests of people, and return it."""
    (out / PEOPLE_FILE).unlink(missing_ok=True)  # of an earlier export
    if seen is None:
        return None
    listed = seen if identify else seen.digested(encoder.digest[:16])
    with atomic_write(out / PEOPLE_FILE) as file:
        file.writelines(f"{line}\n" for line in listed.lines())
    return listed


def _config(encoder: ViTEncoder, step: int) -> dict[str, Any]:
    """Return timm's config, with mean 0 and std 1 for normalised slices, and the contract."""
    height, width = encoder.preprocessing.size
    # timm has no argument for the eps of norms, so that it is an entry beside the contract
    timm_args = {name: value for name, value in encoder.model_args.items() if name != NORM_EPS}
    other_args = {name: value for name, value in encoder.model_args.items() if name == NORM_EPS}
    return {
        "architecture": encoder.architecture,
        "num_classes": 0,
        "num_features": encoder.embed_dim,
        "global_pool": "token",
        "model_args": {"global_pool": "token", **timm_args},
        "pretrained_cfg": {
            "input_size": [encoder.in_chans, height, width],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": [0.0] * encoder.in_chans,
            "std": [1.0] * encoder.in_chans,
            "num_classes": 0,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
        "braindino": {
            "version": __version__,
            **other_args,
            "preprocessing": encoder.preprocessing.to_dict(),
            "pretraining_steps": step,
        },
    }
