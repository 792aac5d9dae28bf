"""Write an encoder as an ONNX or torch.export graph, and check the graph's features."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
    """Compute the CLS token and the patch tokens of slices, after the last norm.

    Args:
        encoder: the network is its own.
    """

    def __init__(self, encoder: ViTEncoder) -> None:
        super().__init__()
        self.model, self.channels = encoder.model, encoder.in_chans

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Return CLS tokens and patch tokens.

        Args:
            slices: normalised by the contract (N, 1, H, W).

        Returns:
            CLS tokens (N, dim), and patch tokens (N, h * w, dim), row by row.
        """
        tokens: Tensor = self.model.forward_features(slices.expand(-1, self.channels, -1, -1))  # type: ignore[operator]
        return tokens[:, 0], tokens[:, self.model.num_prefix_tokens :]


def check_onnx() -> None:
    """Raise BraindinoError when a package that ONNX needs is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise BraindinoError(f"--onnx needs {', '.join(missing)}: `pip install 'braindino[onnx]'`.")


def write_graphs(encoder: ViTEncoder, folder: Path, onnx: bool, torch_export: bool) -> list[Path]:
    """Write `model.onnx` and `model.pt2`, graphs of the encoder.

    They take any number of slices of any size that divides into patches. Each is read again and run on three
    sizes; it takes its name when its features differ from the encoder's by less than a ten-thousandth of the
    largest one.

    Args:
        encoder: a 2-D encoder.
        folder: folder to write into.
        onnx: write `model.onnx`.
        torch_export: write `model.pt2`.

    Returns:
        The paths of the files.

    Raises:
        BraindinoError: a package is missing, the network cannot be traced, or the features differ.
    """
    if onnx:
        check_onnx()
    if not (onnx or torch_export):
        return []
    graph = TokenGraph(encoder).eval()
    files = []
    with _without_warnings(), torch.no_grad():
        program = _trace(encoder, graph)
        if torch_export:
            save = partial(torch.export.save, program)
            files.append(_write(folder / TORCH, encoder, graph, save, _run_torch))
        if onnx:
            files.append(_write(folder / ONNX, encoder, graph, partial(_save_onnx, program), _run_onnx))
    return files


def _trace(encoder: ViTEncoder, graph: TokenGraph) -> torch.export.ExportedProgram:
    """Trace the network with symbolic numbers of slices, rows and columns of patches."""
    side, (height, width) = encoder.patch_size or 1, encoder.preprocessing.size
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    # Sizes that differ from each other and from 0 and 1: equal ones would be taken to be always equal.
    example = torch.zeros(2, 1, max(height, 2 * side) + side, max(width, 2 * side) + 2 * side)
    try:
        with _symbolic_float():
            return torch.export.export(
                graph, (example,), dynamic_shapes={INPUT: {0: batch, 2: side * rows, 3: side * columns}}
            )
    except (RuntimeError, ValueError, AssertionError) as error:  # torch raises any of these
        raise BraindinoError(
            f"torch.export cannot trace {encoder.architecture} ({str(error).splitlines()[0][:200]})."
        ) from error


def _write(
    path: Path,
    encoder: ViTEncoder,
    graph: TokenGraph,
    save: Callable[[str], None],
    run: Callable[[str, list[Tensor]], list[tuple[Tensor, Tensor]]],
) -> Path:
    """Save a graph under a temporary name, compare it with the encoder, and rename it.

    Args:
        path: final name of the file.
        encoder: encoder whose contract gives the sizes of the inputs.
        graph: the network to compare with.
        save: writes a file.
        run: runs a file on inputs.
    """
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        save(str(temporary))
        inputs = _examples(encoder)
        for slices, outputs in zip(inputs, run(str(temporary), inputs), strict=True):
            for name, expected, output in zip(OUTPUTS, graph(slices), outputs, strict=True):
                error = float((expected - output).abs().max() / expected.abs().max().clamp(min=1e-12))
                if not error <= TOLERANCE:
                    raise BraindinoError(
                        f"{path.name}: {name} of {tuple(slices.shape)} differs from the encoder's by "
                        f"{error:.1e} of its largest value, {TOLERANCE:.0e} is allowed; the file was not "
                        "saved."
                    )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _examples(encoder: ViTEncoder) -> list[Tensor]:
    """Return random slices of three sizes, the contract's first."""
    side, (height, width) = encoder.patch_size or 1, encoder.preprocessing.size
    random = torch.Generator().manual_seed(0)
    sizes = ((1, height, width), (3, height + side, width), (2, 2 * side, 3 * side))
    return [torch.randn(n, 1, h, w, generator=random) for n, h, w in sizes]


def _run_torch(file: str, inputs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    module = torch.export.load(file).module()
    return [module(slices) for slices in inputs]


def _save_onnx(program: torch.export.ExportedProgram, file: str) -> None:
    torch.onnx.export(
        program,
        (),
        file,
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        external_data=False,
        verbose=False,
    )


def _run_onnx(file: str, inputs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    outputs = []
    for slices in inputs:
        cls, patches = session.run(list(OUTPUTS), {INPUT: slices.numpy()})
        outputs.append((torch.from_numpy(cls), torch.from_numpy(patches)))
    return outputs


@contextmanager
def _symbolic_float() -> Iterator[None]:
    """Make timm's RoPE use `torch.sym_float`, as `float` fixes the size when traced."""
    pos_embed_sincos.float = torch.sym_float
    try:
        yield
    finally:
        del pos_embed_sincos.float


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore warnings, as the exporters warn of their own deprecated parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
