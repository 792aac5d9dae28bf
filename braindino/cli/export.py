"""`braindino export`: a pretraining run becomes a folder that timm and braindino load."""

from pathlib import Path


def export(run: Path, out: Path = Path("encoder")) -> int:
    """Write a pretraining run's encoder (the EMA teacher) as safetensors, contract and model card.

    Args:
        run: a run folder of `braindino fit` (the newest checkpoint is taken) or one `.ckpt` file.
        out: the folder to write.
    """
    from braindino.encoders.export import export as write

    encoder = write(run, out)
    size = "x".join(map(str, encoder.preprocessing.size))
    print(f"{out}: {encoder.architecture}, {encoder.embed_dim} features per slice of {size}")
    print(f'load it with --model.encoder {out}, or timm.create_model("local-dir:{out}", pretrained=True)')
    return 0
