"""The verb `export`: write a run's encoder as a folder, and print how to load it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindino.scans.seen import Seen


def export(
    run: Path,
    out: Path = Path("encoder"),
    onnx: bool = False,
    torch_export: bool = False,
    license: str | None = None,
    identify: bool = False,
) -> int:
    """Write a pretraining run's encoder (the EMA teacher) with contract and model card.

    The folder can be pushed to a model hub as it is. Graphs are compared with the original before they are
    saved. A checkpoint that would need unpickling is refused.

    Args:
        run: a run folder of `braindino fit` (the newest checkpoint is taken) or one `.ckpt` file.
        out: the folder to write.
        onnx: also as `model.onnx`, of any number and size of slices (needs `pip install 'braindino[onnx]'`).
        torch_export: also as `model.pt2`, which `torch.export.load` reads.
        license: license of the weights, as a model hub names it, such as `cc-by-nc-4.0`.
        identify: list the people seen in pretraining by their ids, for your own use; by default by digests,
            which serve the leakage audit as well.
    """
    from braindino.verbs.export import export as write

    encoder = write(run, out, onnx=onnx, torch_export=torch_export, license=license, identify=identify)
    size = "x".join(map(str, encoder.preprocessing.size))
    print(f"{out}: {encoder.architecture}, {encoder.embed_dim} features per slice of {size}")
    print(_people_line(encoder.seen, out))
    for name in ("model.onnx", "model.pt2"):
        if (out / name).is_file():
            print(f"{out / name}: the same features, checked on three sizes")
    print(f'load it with --model.encoder {out}, or timm.create_model("local-dir:{out}", pretrained=True)')
    if license is None:
        print(f"before sharing it, state the licence of the weights in {out / 'LICENSE'} and README.md")
    return 0


def _people_line(seen: "Seen | None", out: Path) -> str:
    """Return a line about the people seen in pretraining."""
    from braindino.encoders.checkpoints import PEOPLE_FILE

    if seen is None:
        return "the people seen in pretraining are not recorded"
    line = f"{out / PEOPLE_FILE}: {len(seen.people)} people seen in pretraining, and their scans"
    return f"{line}; INCOMPLETE: {'; '.join(seen.gaps)}" if seen.gaps else line
