"""A small store of made-up heads on disk, with a labelled manifest."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from braindino.scans.contract import Preprocessing
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store


def make_store(folder: Path, people: int) -> Path:
    """Write `store/` (4 slices of 32 x 32 per scan) and `all.csv`; every second head is small.

    Returns:
        `folder`.
    """
    rows = []
    axis = np.linspace(-1, 1, 24)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    for i in range(people):
        draws = np.random.default_rng(i)
        small = i % 2 == 1
        radius = (0.5 if small else 0.9) + draws.uniform(-0.03, 0.03)
        inside = x**2 + y**2 + z**2 < radius**2
        volume = inside * (100 + 20 * np.sin(6 * x + i) + 5 * draws.standard_normal(x.shape))
        path = folder / f"{i:02d}.nii.gz"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), path)
        rows.append(
            {
                "dataset": "made",
                "subject": str(i),
                "session": "1",
                "modality": "T1w",
                "path": path.name,
                "group": f"made:{i}",
                "site": "",
                "sex": "",
                "age": "",
                "shape": "small" if small else "large",
                "radius": f"{radius:.4f}",
                "empty": "",
            }
        )
    table = pd.DataFrame(rows)
    table.to_csv(folder / "all.csv", index=False)
    store = Store.create(folder / "store", Preprocessing(depth=4, size=(32, 32)))
    absolute = table[["dataset", "subject", "session", "modality", "group"]].assign(
        path=[str(folder / name) for name in table["path"]]
    )
    fill(store, absolute, progress=False)
    return folder
