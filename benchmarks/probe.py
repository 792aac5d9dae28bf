"""Measure the time of probes on cached features, of extraction and of re-encoding.

    python benchmarks/probe.py            # 5 seeds x 4 fractions, 500 cases x 128 slices x 768 features

Prints one table and writes it to `benchmarks/results/probe.md`. The two-core budget of the grid is 2 minutes.
"re-encoding" is the released protocol, which runs the frozen encoder over every case in every epoch, with the
same model, cases and epochs.
"""

import argparse
import os
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer

from braindino.analysis.results import summarise
from braindino.encoders.cache import FeatureCache, Features
from braindino.encoders.features import extract
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.probing import ClassificationHead, FrozenProbeModule, Protocol
from braindino.probing.cell import Cell
from braindino.probing.cell_training import train_cell
from braindino.probing.data.cases import CaseFeatures, ProbeCases
from braindino.probing.study_cells import run_cells
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode

CLASSES = ("CN", "MCI", "AD")
RESULTS = Path(__file__).parent / "results" / "probe.md"
NAME = "vit_tiny_patch16_dinov3_qkvb"


class MappedStore:
    """Random slices in memory-mapped files, in place of a store."""

    def __init__(self, folder: Path, contract: Preprocessing, keys: list[str]) -> None:
        self.folder, self.contract, self.keys = folder, contract, keys
        rng = np.random.default_rng(0)
        for key in keys:
            np.save(folder / f"{key}.npy", rng.integers(0, 255, (contract.depth, *contract.size), np.uint8))

    def index(self) -> pd.DataFrame:
        return pd.DataFrame(
            {"key": self.keys, "depth": self.contract.depth, "scale": 0.02, "zero_point": 60.0}
        )

    def slices(self, key: str) -> np.ndarray:
        return np.load(self.folder / f"{key}.npy", mmap_mode="r")


def made_cases(count: int) -> ProbeCases:
    """Return cases of three classes, one scan each, split 60 / 20 / 20."""
    label = np.arange(count) % 3
    split = np.array(["train", "train", "train", "val", "test"])[np.arange(count) // 3 % 5]
    names = [f"{number:06d}" for number in range(count)]
    table = pd.DataFrame({"case": names, "group": names, "split": split, "target": label, "key_T1w": names})
    dropped = pd.DataFrame(columns=["case", "reason"])
    return ProbeCases(table, torch.tensor(label), ("diagnosis",), CLASSES, ("T1w",), table["target"], dropped)


def trainer(**overrides: object) -> Trainer:
    return Trainer(accelerator="cpu", devices=1, **overrides)


def grid(folder: Path, count: int, depth: int, dim: int) -> tuple[float, int]:
    """Return the seconds of 5 seeds x 4 fractions, from cache to estimates, and the epochs."""
    contract = Preprocessing(depth=depth, size=(16, 16))
    arguments = {"patch_size": 16, "embed_dim": dim, "depth": 1, "num_heads": 2}
    encoder = ViTEncoder(create_vit(NAME, **arguments), contract, NAME, arguments)
    cases, cache = made_cases(count), FeatureCache(folder, encoder)
    rng = np.random.default_rng(0)
    for key, label in zip(cases.keys, cases.target, strict=True):
        values = rng.normal(size=(depth, dim)).astype(np.float32)
        # A weak effect, so that training takes many epochs.
        values[:, int(label)] += 0.1
        cache.write(key, values)
    module = FrozenProbeModule("benchmark", ClassificationHead())
    protocol = Protocol(seeds=[0, 1, 2, 3, 4], fractions=[0.1, 0.25, 0.5, 1.0])
    started = time.perf_counter()
    data = CaseFeatures(cases, Features(cache, cases.keys), module.pooling)
    asked = [Cell(folder / "run" / "cells", seed, fraction) for seed, fraction in protocol.cells]
    predictions, facts = run_cells(
        folder / "run", asked, lambda cell: train_cell(cell, module, cases, data, protocol, trainer)
    )
    summarise(predictions, facts, protocol.resamples)
    return time.perf_counter() - started, sum(fact["epochs"] for fact in facts)


@torch.inference_mode()
def encode(encoder: ViTEncoder, slices: torch.Tensor) -> torch.Tensor:
    return encoder(decode(slices, torch.tensor(0.02), torch.tensor(60.0)).unsqueeze(1))


def encoding(folder: Path, count: int, epochs: int) -> dict[str, float]:
    """Return the seconds of bare forwards, extraction, a probe, and one with re-encoding."""
    contract = Preprocessing(depth=32, size=(64, 64))
    arguments = {"patch_size": 8, "embed_dim": 192, "depth": 6, "num_heads": 3}
    encoder = ViTEncoder(create_vit(NAME, **arguments), contract, NAME, arguments)
    cases = made_cases(count)
    store = MappedStore(folder, contract, cases.keys)
    volumes = [torch.from_numpy(np.array(store.slices(key))) for key in cases.keys]
    encode(encoder, volumes[0])
    taken = {"bare": float("inf"), "extraction": float("inf")}
    # In turn and the best of three, which other work on the machine affects less.
    for repeat in range(3):
        started = time.perf_counter()
        for number in range(0, count, 4):
            encode(encoder, torch.cat(volumes[number : number + 4]))
        taken["bare"] = min(taken["bare"], time.perf_counter() - started)
        started = time.perf_counter()
        features = extract(encoder, store, cases.keys, folder / f"cache{repeat}", batch_size=128)  # type: ignore[arg-type]
        taken["extraction"] = min(taken["extraction"], time.perf_counter() - started)
    module = FrozenProbeModule("benchmark", ClassificationHead())
    protocol = Protocol(seeds=[0], max_epochs=epochs, patience=epochs)
    started = time.perf_counter()
    data = CaseFeatures(cases, features, module.pooling)
    train_cell(Cell(folder / "cells", 0, 1.0), module, cases, data, protocol, trainer)
    taken["probe"] = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(epochs):
        for part in ("train", "val"):
            for number in cases.part(part).index:
                encode(encoder, volumes[number])
    for number in cases.part("test").index:
        encode(encoder, volumes[number])
    taken["re-encoding"] = time.perf_counter() - started + taken["probe"]
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--slices", type=int, default=128)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--encoded", type=int, default=60, help="cases of the comparison with re-encoding")
    parser.add_argument("--epochs", type=int, default=20, help="of the comparison with re-encoding")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # lightning on torch >= 2.9
    rows = []
    with tempfile.TemporaryDirectory() as name:
        seconds, epochs = grid(Path(name), given.cases, given.slices, given.dim)
    size = f"{given.cases} cases x {given.slices} x {given.dim}"
    rows.append((f"20 cells, {size}, {epochs} epochs in all", seconds, "budget 120 s"))
    with tempfile.TemporaryDirectory() as name:
        taken = encoding(Path(name), given.encoded, given.epochs)
    bare, extraction, probe, again = (taken[key] for key in ("bare", "extraction", "probe", "re-encoding"))
    rows += [
        (f"bare forwards of {given.encoded} cases x 32 slices of 64 x 64", bare, ""),
        ("extraction of the same", extraction, f"{bare / extraction:.0%} of the bare rate"),
        (f"a probe of {given.epochs} epochs after extraction", probe, ""),
        ("the same, re-encoding in every epoch", again, f"{again / probe:.0f} x the probe"),
        ("the same", again, f"{again / (probe + extraction):.1f} x the probe with its extraction"),
    ]
    page = [
        "# Probes",
        "",
        f"`python benchmarks/probe.py` on {date.today()}: torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s) of a CPU of {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the end (of which about {torch.get_num_threads()} is this script).",
        "",
        "| what | seconds | |",
        "|---|---|---|",
        *(f"| {what} | {seconds:.2f} | {remark} |" for what, seconds, remark in rows),
    ]
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text("\n".join(page) + "\n")
    print(*page, sep="\n")


if __name__ == "__main__":
    main()
