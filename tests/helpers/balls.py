"""Heads with a bright ball and its mask, as a cohort for 3-D segmentation."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.datasets import Cohort
from braindino.scans.contract import Preprocessing

VOLUME = Preprocessing.preset("volume", depth=24, size=(24, 24))


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `cases.csv`: 15 heads with a bright ball, 2 without; one has no FLAIR."""
    folder = tmp_path_factory.mktemp("balls")
    grid = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"))
    rows = []
    for i in range(17):
        rng = np.random.default_rng(i)
        away = np.sqrt(((grid - rng.uniform(7, 17, 3)[:, None, None, None]) ** 2).sum(axis=0))
        ball = (away < rng.uniform(3, 5)) & (i < 15)
        row = {"id": f"p{i:02d}"}
        for name, bright in (("t1", 3.0), ("flair", -2.0)):
            image = (rng.normal(10, 0.5, ball.shape) + bright * ball).astype(np.float32)
            nib.save(nib.Nifti1Image(image, np.eye(4)), folder / f"p{i:02d}_{name}.nii")
            row[name] = f"p{i:02d}_{name}.nii" if (i, name) != (3, "flair") else ""
        nib.save(nib.Nifti1Image(ball.astype(np.uint8), np.eye(4)), folder / f"p{i:02d}_mask.nii")
        rows.append({**row, "mask": f"p{i:02d}_mask.nii"})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder


def ball_cohort(folder: Path, store: str = "store", contract: Preprocessing = VOLUME) -> Cohort:
    """Return a data module of the heads, prepared by a contract."""
    data = Cohort(
        folder / "cases.csv", folder / store, task="segmentation", regions={"ball": [1]}, dataset="balls",
        path={"T1w": "t1", "FLAIR": "flair", "mask": "mask"}, prepare=True,
    )  # fmt: skip
    data.use_contract(contract)
    return data
