"""Scans with a bright lesion and its mask in a native space, through Cohort and the store."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from braindino.datasets import Cohort
from braindino.encoders.vit import ViTEncoder
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import tiny_encoder

CONTRACT = Preprocessing(depth=8, size=(32, 32))
# Axes run left, posterior, superior, with voxels of 1 x 1.5 x 3 mm: masks fit only after a transform.
AFFINE = np.diag([-1.0, -1.5, 3.0, 1.0])
SHAPE = (30, 28, 10)
EMPTY = 5  # a case without a lesion


def write_cases(folder: Path, people: int = 20, seed: int = 0) -> Path:
    """Write `cases.csv` with id, t1, flair and mask; label 1 is the lesion, 2 a dark part of it."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"))
    rows = []
    for i in range(people):
        head = ((grid - np.array([14.5, 13.5, 4.5])[:, None, None, None]) ** 2 / 190).sum(0) < 1
        centre = np.array([rng.uniform(9, 20), rng.uniform(9, 19), rng.uniform(3, 6)])[:, None, None, None]
        away = np.sqrt(((grid - centre) ** 2 * np.array([1, 2, 6])[:, None, None, None]).sum(0))
        mask = np.where(away < 2.5, 2, np.where(away < 6, 1, 0)) * head * (i != EMPTY)
        volumes = {"t1": 100 - 60 * (mask == 2), "flair": 100 + 80 * (mask > 0)}
        row: dict[str, object] = {"id": f"p{i:02d}", "sex": "FM"[i % 2], "age": 50 + i}
        for name, values in {**volumes, "mask": mask}.items():
            noisy = mask if name == "mask" else (values + rng.normal(0, 8, SHAPE)) * head
            image = nibabel.Nifti1Image(noisy.astype(np.uint8 if name == "mask" else np.float32), AFFINE)
            nibabel.save(image, folder / f"p{i:02d}_{name}.nii.gz")
            row[name] = f"p{i:02d}_{name}.nii.gz"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder / "cases.csv"


@pytest.fixture(scope="session")
def lesion_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `cases.csv`, its scans, and later the store."""
    folder = tmp_path_factory.mktemp("lesions")
    write_cases(folder)
    return folder


@pytest.fixture
def lesions(lesion_scans: Path) -> Callable[..., Cohort]:
    """Make a data module of the scans with given regions and modalities."""

    def make(
        regions: dict[str, list[int]] | None = None,
        modalities: Sequence[str] = ("FLAIR",),
        root: Path | None = None,
        **options: Any,
    ) -> Cohort:
        columns = {"T1w": "t1", "FLAIR": "flair"}
        data = Cohort(
            (root or lesion_scans) / "cases.csv",
            lesion_scans / "store",
            prepare=True,
            task="segmentation",
            regions=regions or {"lesion": [1, 2]},
            path={**{name: columns[name] for name in modalities}, "mask": "mask"},
            dataset="lesions",
            **options,
        )
        data.use_contract(CONTRACT)
        return data

    return make


@pytest.fixture
def vit_encoder() -> ViTEncoder:
    torch.manual_seed(0)  # for what a test draws
    return tiny_encoder(CONTRACT, depth=4, in_chans=3)
