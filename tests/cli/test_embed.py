"""`braindino embed`: rows in every format, and repeated calls that compute nothing."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.cli.main import main
from braindino.encoders.cache import FeatureCache
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.embedding_files import read_embedding
from braindino.files import read_json
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store


def embed(cohort: Path, encoder: Path, out: Path, *more: str, manifest: str = "adni.csv") -> int:
    store = ["--store", str(cohort / "store"), "--cache", str(out.parent / "features"), "--device", "cpu"]
    return main(
        ["embed", str(cohort / manifest), "--encoder", str(encoder), "--out", str(out), *store, *more]
    )


def tokens(cohort: Path, encoder: Path, path: str) -> tuple[np.ndarray, np.ndarray]:
    """CLS tokens (D, 48) and patch tokens (D, 48, 4, 4) of one scan, computed plainly."""
    store, network = Store.open(cohort / "store"), load_encoder(str(encoder))
    key = store.key_of(path)
    assert key is not None
    sidecar = store.sidecar(key)
    slices = decode(torch.from_numpy(np.array(store.slices(key))), sidecar["scale"], sidecar["zero_point"])[
        :, None
    ]
    with torch.inference_mode():
        return network(slices).numpy(), network.patch_maps(slices, [-1])[0].numpy()


@pytest.mark.parametrize("suffix", [".parquet", ".npy", ".csv"])
def test_embed_writes_the_mean_of_a_scan_in_every_format(
    cohort: Path, encoder: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"emb{suffix}"
    assert embed(cohort, encoder, out) == 0
    ids, features = read_embedding(out)
    manifest = pd.read_csv(cohort / "adni.csv")
    assert f"{len(manifest)} rows of 48 features" in capsys.readouterr().out
    assert list(ids.columns) == list(manifest.columns)
    assert ids["subject"].astype(str).tolist() == manifest["subject"].astype(str).tolist()
    for row in (0, len(ids) - 1):
        cls, _ = tokens(cohort, encoder, ids["path"][row])
        np.testing.assert_allclose(features[row], cls.mean(axis=0), atol=1e-5)
    facts = read_json(tmp_path / f"emb{suffix}.json")
    assert facts["encoder_digest"] == load_encoder(str(encoder)).digest
    assert (facts["level"], facts["rows"], facts["features"]) == ("scan", len(manifest), 48)


def test_embed_rows_of_slices_and_patches_have_their_place(
    cohort: Path, encoder: Path, tmp_path: Path
) -> None:
    assert embed(cohort, encoder, tmp_path / "s.parquet", "--level", "slice") == 0
    ids, features = read_embedding(tmp_path / "s.parquet")
    row = ids.query("slice == 5").index[1]
    cls, patches = tokens(cohort, encoder, ids["path"][row])
    np.testing.assert_allclose(features[row], cls[5], atol=1e-5)
    assert embed(cohort, encoder, tmp_path / "p.parquet", "--level", "patch", "--every", "3") == 0
    ids, features = read_embedding(tmp_path / "p.parquet")
    assert sorted(set(ids["slice"])) == [0, 3, 6]
    assert len(ids) == len(pd.read_csv(cohort / "adni.csv")) * 3 * 16
    (row,) = ids.query("path == @ids.path[@ids.index[48]] and slice == 3 and row == 2 and column == 1").index
    _, patches = tokens(cohort, encoder, ids["path"][row])
    np.testing.assert_allclose(features[row], patches[3, :, 2, 1], atol=1e-5)


def test_embed_again_computes_nothing_and_writes_the_same_bytes(
    cohort: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embed(cohort, encoder, tmp_path / "a.csv") == 0

    def never(*_: object) -> None:
        raise AssertionError("a feature was computed")

    monkeypatch.setattr(FeatureCache, "write", never)
    monkeypatch.setattr("braindino.scans.store.worker.read_scan", never)
    assert embed(cohort, encoder, tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_embed_excludes_and_counts_a_scan_that_cannot_be_read(
    cohort: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = pd.read_csv(cohort / "adni.csv").head(3)
    manifest["path"] = [str(cohort / path) for path in manifest["path"]]
    shutil.copy(manifest["path"][1], tmp_path / "cut.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "cut.nii.gz").read_bytes()[:500])
    manifest.loc[1, "path"] = str(tmp_path / "cut.nii.gz")
    manifest.to_csv(tmp_path / "some.csv", index=False)
    out = tmp_path / "emb.csv"
    arguments = ["--encoder", str(encoder), "--out", str(out), "--store", str(tmp_path / "store")]
    shutil.copytree(cohort / "store", tmp_path / "store_of_all")
    assert main(["embed", str(tmp_path / "some.csv"), *arguments]) == 2
    assert "`--prepare` lets this command make it" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    assert main(["embed", str(tmp_path / "some.csv"), *arguments, "--prepare"]) == 1
    assert len(read_embedding(out)[0]) == 2
    assert "1 scans were rejected" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "emb.xlsx"], ".parquet, .npy, .csv"),
        (["--every", "2"], "--level scan all slices count"),
        (["--level", "slice", "--every", "0"], "expected 1 or more"),
        (["--level", "voxel"], "one of 'scan', 'slice', 'patch'"),
        (["--encoder", "nowhere"], "braindino export"),
        (["--encodr", "x"], "Did you mean --encoder"),
    ],
)
def test_embed_explains_wrong_input(
    cohort: Path,
    encoder: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert embed(cohort, encoder, tmp_path / "e.csv", *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 3


def test_embed_rejects_a_store_of_another_contract(
    cohort: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["prepare", str(cohort / "adni.csv"), "--store", str(tmp_path / "other"), "--depth", "4"]) == 0
    )
    assert embed(cohort, encoder, tmp_path / "e.csv", "--store", str(tmp_path / "other")) == 2
    assert "prepared with a different contract (depth: 4 here, 8 there" in capsys.readouterr().err
