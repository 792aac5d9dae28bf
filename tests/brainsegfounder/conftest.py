"""A store of small volumes with three sequences."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.scans.contract import Preprocessing
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of four people; shading shows how a crop is turned, stripes differ by person."""
    folder = tmp_path_factory.mktemp("volumes")
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij"))
    rows = []
    for person in range(4):
        radii = 0.9 + 0.5 * np.random.default_rng(person).random(3)
        inside = ((grid / radii[:, None, None, None]) ** 2).sum(axis=0) < 1
        stripes = 0.8 * np.sin((2 + 2 * person) * grid[0] + person)
        for modality, weight in (("T1w", 1.0), ("T1c", 0.8), ("FLAIR", -0.6)):
            shaded = 3 + weight * grid[2] + (grid[1] > 0.2) * grid[2] + stripes
            image = np.where(inside, shaded, 0).astype(np.float32)
            path = folder / f"{person}_{modality}.nii"
            nib.save(nib.Nifti1Image(image, np.eye(4)), path)
            rows.append((str(path), "a", str(person), "", modality, f"a:{person}"))
    table = pd.DataFrame(rows, columns=["path", "dataset", "subject", "session", "modality", "group"])
    store = Store.create(folder / "store", Preprocessing.preset("volume", depth=32, size=(32, 32)))
    assert fill(store, table, progress=False).prepared == 12
    return store.path
