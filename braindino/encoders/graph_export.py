"""An encoder as a graph that runs without its Python code: ONNX and torch.export, checked first."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from timm.layers import pos_embed_sincos
from torch import Tensor, nn

from braindino.encoders.vit import ViTEncoder
from braindino.errors import BraindinoError

ONNX = "model.onnx"
TORCH = "model.pt2"
TOLERANCE = 1e-4  # of the largest feature
INPUT, OUTPUTS = "slices", ("cls", "patches")


class TokenGraph(nn.Module):
    """Slices (N, 1, H, W) -> CLS token (N, dim) and patch tokens (N, h * w, dim), row by row, both normed."""

    def __init__(self, encoder: ViTEncoder) -> None:
        super().__init__()
        self.model, self.channels = encoder.model, encoder.in_chans

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """As the class says."""
        tokens: Tensor = self.model.forward_features(slices.expand(-1, self.channels, -1, -1))  # type: ignore[operator]
        return tokens[:, 0], tokens[:, self.model.num_prefix_tokens :]


def check_onnx() -> None:
    """Raise BraindinoError when a package that ONNX needs is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise BraindinoError(f"--onnx needs {', '.join(missing)}: `pip install 'braindino[onnx]'`.")


def write_graphs(encoder: ViTEncoder, folder: Path, onnx: bool, torch_export: bool) -> list[Path]:
    """Write `model.onnx` and `model.pt2`, with any number of slices of any size that divides into patches.

    Each is read again and run on three sizes; it takes its name when its features differ from the encoder's
    by less than a ten-thousandth of the largest one.

    Raises:
        BraindinoError: a package is missing, the network cannot be traced, or the features differ.
    """
    if onnx:
        check_onnx()
    if not (onnx or torch_export):
        return []
    graph = TokenGraph(encoder).eval()
    with _quietly(), torch.no_grad():
        program = _trace(encoder, graph)
        done = []
        if torch_export:
            done.append(
                _keep(
                    folder / TORCH, encoder, graph, lambda file: torch.export.save(program, file), _run_torch
                )
            )
        if onnx:
            done.append(
                _keep(folder / ONNX, encoder, graph, lambda file: _save_onnx(program, file), _run_onnx)
            )
    return done


def _trace(encoder: ViTEncoder, graph: TokenGraph) -> torch.export.ExportedProgram:
    side, (height, width) = encoder.patch_size or 1, encoder.preprocessing.size
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    # Sizes that differ from each other and from 0 and 1: equal ones would be taken to be always equal.
    example = torch.zeros(2, 1, max(height, 2 * side) + side, max(width, 2 * side) + 2 * side)
    try:
        with _symbolic_float():
            return torch.export.export(
                graph, (example,), dynamic_shapes={INPUT: {0: batch, 2: side * rows, 3: side * columns}}
            )
    except (RuntimeError, ValueError, AssertionError) as error:  # torch's many ways to say so
        raise BraindinoError(
            f"torch.export cannot trace {encoder.architecture} ({str(error).splitlines()[0][:200]})."
        ) from error


def _keep(
    path: Path,
    encoder: ViTEncoder,
    graph: TokenGraph,
    save: Callable[[str], None],
    run: Callable[[str, list[Tensor]], list[tuple[Tensor, Tensor]]],
) -> Path:
    """Save under a temporary name, compare, rename."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        save(str(temporary))
        inputs = _examples(encoder)
        for given, found in zip(inputs, run(str(temporary), inputs), strict=True):
            for name, expected, answer in zip(OUTPUTS, graph(given), found, strict=True):
                away = float((expected - answer).abs().max() / expected.abs().max().clamp(min=1e-12))
                if not away <= TOLERANCE:
                    raise BraindinoError(
                        f"{path.name}: {name} of {tuple(given.shape)} differs from the encoder's by "
                        f"{away:.1e} of its largest value, {TOLERANCE:.0e} is allowed; the file was not kept."
                    )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _examples(encoder: ViTEncoder) -> list[Tensor]:
    side, (height, width) = encoder.patch_size or 1, encoder.preprocessing.size
    random = torch.Generator().manual_seed(0)
    sizes = ((1, height, width), (3, height + side, width), (2, 2 * side, 3 * side))
    return [torch.randn(n, 1, h, w, generator=random) for n, h, w in sizes]


def _run_torch(file: str, inputs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    module = torch.export.load(file).module()
    return [module(given) for given in inputs]


def _save_onnx(program: torch.export.ExportedProgram, file: str) -> None:
    torch.onnx.export(
        program, (), file, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS),
        external_data=False, verbose=False,
    )  # fmt: skip


def _run_onnx(file: str, inputs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = []
    for given in inputs:
        cls, patches = session.run(list(OUTPUTS), {INPUT: given.numpy()})
        found.append((torch.from_numpy(cls), torch.from_numpy(patches)))
    return found


@contextmanager
def _symbolic_float() -> Iterator[None]:
    """timm's RoPE divides by `float(rows)`, which fixes the size when traced; `torch.sym_float` does not."""
    pos_embed_sincos.float = torch.sym_float
    try:
        yield
    finally:
        del pos_embed_sincos.float


@contextmanager
def _quietly() -> Iterator[None]:
    """Exporters warn of their own parts that are to be renamed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
