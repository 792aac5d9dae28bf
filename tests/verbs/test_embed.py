"""`braindino.embed` called from Python."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import braindino
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError


@pytest.mark.parametrize("as_path", [True, False])
def test_embed_returns_the_file_and_its_size(
    cohort: Path, encoder: Path, tmp_path: Path, as_path: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = cohort / "adni.csv"
    embedding = braindino.embed(
        manifest if as_path else Manifest.read(manifest),
        str(encoder),
        tmp_path / "emb.npy",
        store=cohort / "store",
        cache=tmp_path / "features",
        device="cpu",
        progress=False,
    )
    assert capfd.readouterr() == ("", "")
    scans = len(pd.read_csv(manifest))
    assert (embedding.rows, embedding.features, embedding.scans, embedding.rejected) == (scans, 48, scans, 0)
    ids, features = embedding.read()
    assert features.shape == (scans, 48)
    np.testing.assert_array_equal(features, np.load(embedding.path))
    assert ids["path"].tolist() == Manifest.read(manifest).table["path"].tolist()


def test_embed_counts_rejected_scans(cohort: Path, encoder: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(cohort / "adni.csv")
    table = manifest.table.head(2).assign(key="a column of the user")
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    table.loc[1, "path"] = str(tmp_path / "broken.nii.gz")
    embedding = braindino.embed(
        Manifest(table), str(encoder), tmp_path / "e.csv", store=tmp_path / "store", prepare=True,
        device="cpu", progress=False,
    )  # fmt: skip
    assert (embedding.rows, embedding.rejected) == (1, 1)
    assert "broken.nii.gz" in embedding.rejects.read_text()
    assert embedding.read()[0]["key"].tolist() == ["a column of the user"]
    with pytest.raises(BraindinoError, match="the manifest: none of its scans can be used"):
        braindino.embed(
            Manifest(table.tail(1)), str(encoder), tmp_path / "e.csv", store=tmp_path / "store",
            progress=False,
        )  # fmt: skip
