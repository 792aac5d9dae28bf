"""A tiny encoder, and data whose features carry the label: no images, no training of an encoder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from braindino.datasets.splits import parts_of_fold
from braindino.encoders.base import Encoder
from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import Geometry
from braindino.scans.reading import Scan
from braindino.scans.seen import slices_digest
from tests.helpers.lesions import lesion_scans, lesions, vit_encoder  # noqa: F401  fixtures

CONTRACT = Preprocessing(depth=3, size=(4, 4))
CLASSES = ("CN", "MCI", "AD")


class TinyEncoder(Encoder):
    """A random linear map of the pixels."""

    def __init__(self, seed=0):
        super().__init__()
        self.preprocessing, self.embed_dim, self.patch_size = CONTRACT, 16, None
        self.slices_seen = 0
        random = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(16, 16, generator=random))

    def forward(self, slices):
        self.slices_seen += len(slices)
        return slices.flatten(1) @ self.weight

    def patch_maps(self, slices, blocks):
        raise NotImplementedError


class MemoryStore:
    """Stands in for the store: slices in memory."""

    contract = CONTRACT
    strip_cmd = None

    def __init__(self, path, scans):
        self.path, self.scans = path, scans

    def index(self):
        return pd.DataFrame({"key": list(self.scans), "depth": 3, "scale": 0.02, "zero_point": 100.0})

    def slices(self, key):
        return self.scans[key]

    def digests(self, keys):
        return {key: (slices_digest(self.scans[key]),) for key in keys}

    def slice(self, key, i):
        return self.scans[key][i]

    def sidecar(self, key):
        measured = {"scale": 0.02, "zero_point": 100.0, "first": 0, "last": 2}
        return {**measured, "stats": {"nonzero": 0.5}, "affine_source": "sform"}

    def geometry(self, key):
        scan = Scan(self.scans[key].T, np.eye(4), Path(key), "")
        return Geometry.of(scan, CONTRACT)


class PlantedData:
    """Cases with a bright row of pixels for each class. Two modalities; some lack the second."""

    classes = CLASSES
    modalities = ("T1w", "T2w")
    target = ("diagnosis",)
    num_workers = 0
    fold = None

    def __init__(self, folder, people=90, shuffled=False, regression=False, folds=None):
        rng = np.random.default_rng(0)
        scans, rows = {}, []
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

    def use_contract(self, contract):
        assert contract == CONTRACT

    def prepare_data(self):
        self.store.path.mkdir(exist_ok=True)

    def setup(self, stage):
        assert stage == "fit"

    def strata(self, cases):
        return (cases["target"] // 10).astype(int) if not self.classes else cases["target"]


@pytest.fixture
def planted(tmp_path):
    """Make planted data."""
    return lambda **options: PlantedData(tmp_path / "store", **options)


class PlantedSurvival(PlantedData):
    """The planted row of pixels tells the hazard; a third of the people is censored, many times are tied."""

    classes = ()
    target = ("days", "died")  # a cohort calls them what it likes

    def __init__(self, folder, people=150, shuffled=False, folds=None):
        super().__init__(folder, people, folds=folds)
        rng = np.random.default_rng(1)
        group = self.cases["target"].to_numpy()
        hazard = np.exp(2.0 * (rng.permutation(group) if shuffled else group))
        time, limit = np.ceil(rng.exponential(400 / hazard)), np.ceil(rng.uniform(20, 300, size=people))
        self.cases["days"], self.cases["died"] = np.minimum(time, limit), (time <= limit).astype(int)
        self.cases = self.cases.drop(columns="target")

    def strata(self, cases):
        return cases["died"]


@pytest.fixture
def planted_survival(tmp_path):
    """Make planted survival data."""
    return lambda **options: PlantedSurvival(tmp_path / "store", **options)


@pytest.fixture
def encoder():
    return TinyEncoder()


@pytest.fixture
def make_trainer():
    def make(**overrides):
        return Trainer(accelerator="cpu", devices=1, **overrides)

    return make
