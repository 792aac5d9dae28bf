from pathlib import Path

import pandas as pd
import pytest

from braindino.scans.contract import Preprocessing
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store
from braindino.synthetic.files import save_nifti
from braindino.synthetic.rendering import SyntheticHead, render

SMALL = Preprocessing(depth=8, size=(16, 16))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 24 small heads: 12 people of dataset a with one scan each, 6 of dataset b with two."""
    folder = tmp_path_factory.mktemp("heads")
    rows = []
    for i in range(24):
        dataset, person = ("a", i) if i < 12 else ("b", (i - 12) // 2)
        path = folder / f"{i:02d}.nii"
        save_nifti(path, render(SyntheticHead(i), shape=(10, 12, 10)))
        rows.append((str(path), dataset, f"{person}", f"{i % 2}", "T1w", f"{dataset}:{person}"))
    table = pd.DataFrame(rows, columns=["path", "dataset", "subject", "session", "modality", "group"])
    store = Store.create(folder / "store", SMALL)
    report = fill(store, table, progress=False)
    assert report.prepared == 24
    return store.path
