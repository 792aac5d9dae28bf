"""Export a pretraining run's encoder as a folder that timm and braindino load."""

from pathlib import Path

from braindino.encoders.export import export_encoder
from braindino.encoders.vit import ViTEncoder
from braindino.progress import show_elapsed


def export(
    run: Path | str,
    out: Path | str = "encoder",
    *,
    onnx: bool = False,
    torch_export: bool = False,
    license: str | None = None,
    identify: bool = False,
    progress: bool = True,
) -> ViTEncoder:
    """Write a pretraining run's encoder (the EMA teacher) with contract and model card.

    The folder can be pushed to a model hub as it is. Graphs are compared with the original before they are
    saved. A checkpoint that would need unpickling is refused.

    Args:
        run: a run folder of `braindino fit` (the newest checkpoint is taken) or one `.ckpt` file.
        out: the folder to write; an earlier export in it is replaced.
        onnx: also write `model.onnx`, for any number and size of slices (needs the extra `onnx`).
        torch_export: also write `model.pt2`, which `torch.export.load` reads.
        license: license of the weights, as a model hub names it, such as `cc-by-nc-4.0`.
        identify: list the people seen in pretraining by their ids, for your own use; by default by digests,
            which serve the leakage audit as well.
        progress: False shows no elapsed time.

    Returns:
        The encoder that was written; `seen` lists the people and scans as the folder does.

    Raises:
        BraindinoError: no checkpoint at `run`, one without an encoder, a missing package, a graph that
            differs, or `out` exists and is no export.
    """
    with show_elapsed("export", progress):
        return export_encoder(Path(run), Path(out), license, onnx, torch_export, identify)
