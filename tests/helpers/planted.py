"""A tiny encoder, and data whose features contain the label, without images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from braindino.datasets.splits import parts_of_fold
from braindino.encoders.base import Encoder
from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import Geometry
from braindino.scans.reading import Scan
from braindino.scans.seen import slices_digest

CONTRACT = Preprocessing(depth=3, size=(4, 4))
CLASSES = ("CN", "MCI", "AD")


class TinyEncoder(Encoder):
    """A random linear map of the pixels."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.preprocessing, self.embed_dim, self.patch_size = CONTRACT, 16, None
        self.slices_seen = 0
        random = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(16, 16, generator=random))

    def forward(self, slices: Tensor) -> Tensor:
        self.slices_seen += len(slices)
        return slices.flatten(1) @ self.weight

    def patch_maps(self, slices: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        raise NotImplementedError


class MemoryStore:
    """A substitute for the store with slices in memory."""

    contract = CONTRACT
    strip_cmd = None

    def __init__(self, path: Path, scans: dict[str, np.ndarray]) -> None:
        self.path, self.scans = path, scans

    def index(self) -> pd.DataFrame:
        return pd.DataFrame({"key": list(self.scans), "depth": 3, "scale": 0.02, "zero_point": 100.0})

    def slices(self, key: str) -> np.ndarray:
        return self.scans[key]

    def digests(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {key: (slices_digest(self.scans[key]),) for key in keys}

    def slice(self, key: str, i: int) -> np.ndarray:
        return self.scans[key][i]

    def sidecar(self, key: str) -> dict[str, Any]:
        measured = {"scale": 0.02, "zero_point": 100.0, "first": 0, "last": 2}
        return {**measured, "stats": {"nonzero": 0.5}, "affine_source": "sform"}

    def geometry(self, key: str) -> Geometry:
        scan = Scan(self.scans[key].T, np.eye(4), Path(key), "")
        return Geometry.of(scan, CONTRACT)


class PlantedData:
    """Cases with a bright row of pixels for each class. Two modalities; some lack the second."""

    classes: tuple[str, ...] = CLASSES
    modalities = ("T1w", "T2w")
    target: tuple[str, ...] = ("diagnosis",)
    num_workers = 0
    fold: int | None = None

    def __init__(
        self,
        folder: Path,
        people: int = 90,
        shuffled: bool = False,
        regression: bool = False,
        folds: int | None = None,
    ) -> None:
        rng = np.random.default_rng(0)
        scans: dict[str, np.ndarray] = {}
        rows = []
        for index in range(people):
            label = int(rng.integers(3)) if shuffled else index % 3
            keys = [f"key{index}-{name}" for name in self.modalities]
            for key in keys:
                volume = rng.normal(100, 8, size=(3, 4, 4))
                volume[:, index % 3] += 40
                scans[key] = volume.clip(0, 255).astype(np.uint8)
            rows.append(
                {
                    "case": f"case{index:03d}",
                    "group": f"made:{index:03d}",
                    "split": ("train", "train", "train", "val", "test")[index // 3 % 5],
                    "target": 50.0 + 10 * label + rng.normal() if regression else label,
                    "site": "here",
                    "sex": "FM"[index % 2],
                    "age": 60.0 + index % 20,
                    "dataset": "made",
                    "key_T1w": keys[0],
                    "key_T2w": "" if index % 7 == 0 else keys[1],
                }
            )
        if regression:
            self.classes = ()
        self.store = MemoryStore(folder, scans)
        self.cases = pd.DataFrame(rows)
        self.folds = folds
        if folds is not None:
            self.cases["fold"] = self.cases.index // 3 % folds
            self.cases["split"] = parts_of_fold(self.cases["fold"], 0, folds)
        self.dropped = pd.DataFrame([("a.nii", "made:000", "no T1w")], columns=["path", "subject", "reason"])

    def use_contract(self, contract: Preprocessing) -> None:
        assert contract == CONTRACT

    def prepare_data(self) -> None:
        self.store.path.mkdir(exist_ok=True)

    def setup(self, stage: str) -> None:
        assert stage == "fit"

    def strata(self, cases: pd.DataFrame) -> pd.Series:
        return (cases["target"] // 10).astype(int) if not self.classes else cases["target"]


class PlantedSurvival(PlantedData):
    """Survival by the planted row of pixels; a third of the people is censored, times have ties."""

    classes = ()
    target = ("days", "died")  # names that differ from time and event

    def __init__(
        self, folder: Path, people: int = 150, shuffled: bool = False, folds: int | None = None
    ) -> None:
        super().__init__(folder, people, folds=folds)
        rng = np.random.default_rng(1)
        group = self.cases["target"].to_numpy()
        hazard = np.exp(2.0 * (rng.permutation(group) if shuffled else group))
        time, limit = np.ceil(rng.exponential(400 / hazard)), np.ceil(rng.uniform(20, 300, size=people))
        self.cases["days"], self.cases["died"] = np.minimum(time, limit), (time <= limit).astype(int)
        self.cases = self.cases.drop(columns="target")

    def strata(self, cases: pd.DataFrame) -> pd.Series:
        return cases["died"]
