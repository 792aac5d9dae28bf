"""What is left of a bench: cells, features to extract with their size, and how long it will take."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from braindino.cli.benching.plan import Study
from braindino.cli.benching.progress import progress_of, seconds_per_cell
from braindino.cli.lightning import parse_probe
from braindino.datasets.datamodule import ScanDataModule
from braindino.encoders.base import Encoder
from braindino.encoders.feature_cache import FeatureCache
from braindino.errors import BraindinoError
from braindino.probing import Protocol
from braindino.probing.cell import device_of
from braindino.scans.progress import track
from braindino.scans.store import Store

PROBED = 8  # slices, to measure the encoder's rate by
USUAL_DEPTH = 128  # slices of a scan that is not in a store yet, where the contract keeps those it has


@dataclass
class Extraction:
    """What one encoder has still to do: `scans` name -> slices; bytes of the features; slices per second."""

    scans: dict[str, int] = field(default_factory=dict)
    size: int = 0
    rate: float = 0.0
    device: str = ""

    @property
    def seconds(self) -> float:
        """At the measured rate."""
        return sum(self.scans.values()) / self.rate if self.rate else 0.0


@dataclass
class Estimate:
    """Of a whole bench."""

    cells: int
    left: int
    extractions: dict[str, Extraction]
    in_loop: list[str]
    per_cell: tuple[float, int] | None

    def lines(self, jobs: int) -> list[str]:
        """For people, each number with what it rests on."""
        scans = sum(len(part.scans) for part in self.extractions.values())
        size = sum(part.size for part in self.extractions.values())
        said = [f"{self.cells} cells, {self.cells - self.left} done, {self.left} left"]
        if scans:
            said.append(f"features to extract: {scans} scans, {_bytes(size)} more in the cache")
            for name, part in self.extractions.items():
                if part.scans:
                    rate = f"{part.rate:.1f} slices/s, measured now with {PROBED} slices on {part.device}"
                    said.append(f"  {name}: {len(part.scans)} scans, {_time(part.seconds)} at {rate}")
        else:
            said.append("features: all are in the cache")
        seconds = sum(part.seconds for part in self.extractions.values())
        if self.left and self.per_cell is None:
            said.append("training: not known before two cells of the bench are done")
        elif self.per_cell is not None:
            training = self.left * self.per_cell[0]
            basis = f"median of {self.per_cell[1]} times between finished cells, baselines not counted"
            said.append(f"training: {_time(training)} at {self.per_cell[0]:.1f} s per cell ({basis})")
            seconds += training
        for name in self.in_loop:
            said.append(
                f"  {name}: the encoder runs in the loop, which keeps no features; time as its cells show"
            )
        shared = f"; with {jobs} jobs side by side at best {_time(seconds / jobs)}" if jobs > 1 else ""
        return [*said, f"all: {'at least ' if self.per_cell is None else ''}{_time(seconds)}{shared}"]


def estimate(studies: Sequence[Study], cells: int) -> Estimate:
    """Look at every study that is not done: its scans, its encoder, its cache. Nothing is written.

    Args:
        cells: of each study.
    """
    found: dict[str, Extraction] = {}
    in_loop: list[str] = []
    progress = [progress_of(study.name, study.folder, cells) for study in studies]
    pairs = list(zip(studies, progress, strict=True))
    for study, known in track(pairs, len(pairs), "look", sys.stderr.isatty(), unit="study"):
        if known.done == known.cells:
            continue
        try:
            way = _look(study, found)
        except BraindinoError as error:
            raise BraindinoError(f"{study.name}: {error}") from None
        in_loop += [] if way else [study.name]
    left = sum(known.cells - known.done for known in progress)
    per_cell = seconds_per_cell([study.folder for study in studies])
    return Estimate(cells * len(studies), left, found, in_loop, per_cell)


def _look(study: Study, found: dict[str, Extraction]) -> bool:
    """Add what a study's encoder, and its untrained twin, have to do; False if no features are kept."""
    cli = parse_probe(study.arguments)
    protocol: Protocol = cli.config_init["probe"]
    if cli.model.head.dense or protocol.cache is False:
        return False
    device = device_of(cli.instantiate_trainer)
    networks = {study.encoder: cli.encoder}
    twin = cli.encoder.untrained() if protocol.baselines else None
    if twin is not None and twin.digest != cli.encoder.digest:
        networks[f"{study.encoder}, untrained"] = twin
    for name, network in networks.items():
        part = found.setdefault(name, Extraction(device=str(device)))
        level = cli.model.pooling.level if cli.model.pooling is not None else "slice"
        _add(part, cli.datamodule, network, protocol, level)
        if part.scans and not part.rate:
            part.rate = _slices_per_second(network, device)
    return True


def _add(part: Extraction, data: ScanDataModule, network: Encoder, protocol: Protocol, level: str) -> None:
    """Add the scans of a study whose features are not there, each once for an encoder and cache."""
    there = (data.store_path / "contract.json").is_file()
    store = Store.open(data.store_path) if there else None
    root = protocol.cache if isinstance(protocol.cache, Path) else data.store_path / "features"
    cache = FeatureCache(root, network, protocol.precision, level)  # type: ignore[arg-type]
    table = data.manifest.table
    depths = {} if store is None else dict(store.index().drop_duplicates("key").set_index("key")["depth"])
    for path in table.loc[table["modality"].isin(data.modalities), "path"]:
        key = None if store is None else store.key_of(path)
        name = f"{cache.folder}:{key or path}"
        if name in part.scans or (key is not None and cache.read(key) is not None):
            continue
        depth = depths.get(key) or network.preprocessing.depth or USUAL_DEPTH
        part.scans[name] = int(depth)
        rows = 1 if cache.level == "scan" else int(depth)
        part.size += rows * cache.width * np.dtype(cache.dtype).itemsize


def _slices_per_second(network: Encoder, device: torch.device) -> float:
    """Of `PROBED` slices of noise, after one to warm up; of a 3-D encoder a scan counts as its slices."""
    network.freeze().to(device)
    rows, columns = network.preprocessing.size
    depth = network.preprocessing.depth or USUAL_DEPTH
    flat = network.dimensions == 2
    shape = (PROBED, 1, rows, columns) if flat else (1, 1, depth, rows, columns)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        network(noise[:1])
        started = time.perf_counter()
        network(noise).cpu()
    return (PROBED if flat else depth) / (time.perf_counter() - started)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
