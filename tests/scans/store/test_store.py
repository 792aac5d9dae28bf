"""Check the store: one contract, lazy and bounded reads, a fast index, old stores."""

import os
import pickle
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import decode, preprocess
from braindino.scans.reading import read_scan
from braindino.scans.store.fill import fill
from braindino.scans.store.ledger import LedgerWriter
from braindino.scans.store.store import INDEX_COLUMNS, OPEN_MAPS, REJECT_COLUMNS, Store

CONTRACT = Preprocessing(depth=6, size=(12, 10))
STORED = Path(__file__).parents[2] / "stored/braindino_0_1.zip"


@pytest.fixture
def filled(tmp_path: Path, save: Callable[..., Path], head: Callable[..., np.ndarray]) -> Store:
    """Fill a store with three scans and a reject."""
    paths = [save(f"scans/s{i}.nii.gz", head(seed=i)) for i in range(3)]
    paths.append(save("scans/blank.nii.gz", np.zeros((8, 8, 8))))
    rows = pd.DataFrame(
        {"path": paths, "dataset": "made", "subject": ["a", "b", "c", "d"], "modality": "T1w"}
    )
    store = Store.create(tmp_path / "store", CONTRACT)
    fill(store, rows.assign(group=rows["subject"]), progress=False)
    return store


def test_store_returns_output_of_preprocess(filled: Store) -> None:
    index = filled.index()
    assert tuple(index.columns) == INDEX_COLUMNS
    assert index["subject"].tolist() == ["a", "b", "c"]
    assert index["session"].tolist() == ["", "", ""]
    for row in index.itertuples():
        prepared = preprocess(read_scan(str(row.path)), CONTRACT)
        slices = filled.slices(str(row.key))
        assert isinstance(slices, np.memmap)
        np.testing.assert_array_equal(slices, prepared.slices)
        for i in range(6):
            np.testing.assert_array_equal(filled.slice(str(row.key), i), prepared.slices[i])
        assert (row.depth, row.height, row.width) == (6, 12, 10)
        assert (row.first, row.last, row.scale, row.zero_point) == (
            prepared.first,
            prepared.last,
            prepared.scale,
            prepared.zero_point,
        )
        sidecar = filled.sidecar(str(row.key))
        assert filled.geometry(str(row.key)) == prepared.geometry
        assert sidecar["stats"] == prepared.stats
        assert not Path(sidecar["source"]).is_absolute()
        assert os.path.normpath(filled.path / sidecar["source"]) == row.path
        assert (decode(slices, sidecar["scale"], sidecar["zero_point"])[:, 0, 0] == 0).all()


@pytest.fixture
def old_filled(filled: Store) -> Store:
    """Rename to version 0.1's `step` and `zero` in ledger, sidecars and index.csv."""
    files = [*filled.path.glob("scans/*/*.json"), *filled.layout.ledger.iterdir(), filled.path / "index.csv"]
    for file in files:
        text = file.read_text()
        assert "zero_point" in text
        file.write_text(text.replace("scale", "step").replace("zero_point", "zero"))
    return Store.open(filled.path)


def test_store_reads_former_names(filled: Store, old_filled: Store) -> None:
    expected = filled.index()
    pd.testing.assert_frame_equal(old_filled.index(), expected)
    for row in expected.itertuples():
        assert '"step"' in old_filled.layout.sidecar(str(row.key)).read_text()
        sidecar = old_filled.sidecar(str(row.key))
        assert (sidecar["scale"], sidecar["zero_point"]) == (row.scale, row.zero_point)
        assert not {"step", "zero"} & sidecar.keys()


def test_fill_continues_store_with_former_names(
    filled: Store, old_filled: Store, save: Callable[..., Path], head: Callable[..., np.ndarray]
) -> None:
    """New scans, a copy of an old scan and a corrected record get the new names; nothing is read twice."""
    expected = filled.index().set_index("path")
    times = {file: file.stat().st_mtime_ns for file in old_filled.path.glob("scans/*/*")}
    new, copy = save("scans/new.nii.gz", head(seed=7)), save("scans/copy.nii.gz", head(seed=0))
    paths = [*expected.index, new, copy]
    rows = pd.DataFrame({"path": paths, "dataset": "renamed", "group": "renamed:1"})
    report = fill(old_filled, rows, progress=False)
    assert (report.prepared, report.present, report.rejected) == (2, 3, 0)
    assert {file: file.stat().st_mtime_ns for file in times} == times
    table = pd.read_csv(old_filled.path / "index.csv").set_index("path")
    assert set(table.reset_index().columns) == set(INDEX_COLUMNS)
    measures = ["key", "depth", "height", "width", "first", "last", "scale", "zero_point"]
    assert table.loc[expected.index, measures].to_dict() == expected[measures].to_dict()
    assert table["key"].nunique() == 4
    for column in ("scale", "zero_point"):
        assert table.loc[str(copy), column] == expected[column].iloc[0]
    ledger = "".join(file.read_text() for file in old_filled.layout.ledger.iterdir())
    assert '"step"' in ledger
    assert '"scale"' in ledger  # one store with both names
    assert all(record["dataset"] == "renamed" for record in old_filled.records.values() if "key" in record)
    pd.testing.assert_frame_equal(Store.open(old_filled.path).index(), old_filled.index())


def test_fill_continues_store_of_version_0_1(tmp_path: Path) -> None:
    """Fill the store in tests/stored, which version 0.1 wrote."""
    with zipfile.ZipFile(STORED) as archive:
        archive.extractall(tmp_path)
    for file in tmp_path.glob("store/**/*"):
        if file.suffix in (".json", ".jsonl", ".csv"):
            file.write_text(file.read_text().replace("@ROOT@", str(tmp_path)))
    store = Store.open(tmp_path / "store")
    old = pd.read_csv(tmp_path / "store/index.csv")
    assert {"step", "zero"} <= set(old.columns)
    index = store.index()
    assert index["key"].tolist() == old["key"].tolist()
    assert index[["scale", "zero_point"]].to_numpy().tolist() == old[["step", "zero"]].to_numpy().tolist()
    report = fill(store, pd.DataFrame({"path": index["path"]}), progress=False)
    keys = store.index()["key"].tolist()
    assert report.prepared + report.present == len(old)
    assert keys == old["key"].tolist()


def test_fill_writes_index_and_rejects(filled: Store) -> None:
    assert pd.read_csv(filled.path / "index.csv")["key"].tolist() == filled.index()["key"].tolist()
    rejects = pd.read_csv(filled.path / "rejects.csv")
    assert tuple(rejects.columns) == REJECT_COLUMNS
    assert rejects["reason"].tolist() == ["constant volume: every voxel is 0"]
    assert rejects["subject"].tolist() == ["d"]


def test_key_of_identifies_file_by_size_and_time(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(filled.index()["path"][1])
    assert filled.key_of(path) == filled.index()["key"][1]
    monkeypatch.chdir(path.parent)
    assert filled.key_of(path.name) == filled.index()["key"][1]
    assert filled.key_of("elsewhere.nii") is None
    assert filled.key_of(path.parent / "blank.nii.gz") is None
    os.utime(path, ns=(1, 1))
    assert filled.key_of(path) is None


def test_create_rejects_other_contract_and_shows_both(filled: Store) -> None:
    with pytest.raises(BraindinoError) as caught:
        Store.create(filled.path, CONTRACT.replace(depth=7))
    for part in (
        "depth: 6 here, 7 there",
        f"store: {CONTRACT}",
        "requested: orientation=RAS",
        str(filled.path),
    ):
        assert part in str(caught.value)
    assert Store.create(filled.path, CONTRACT).contract == CONTRACT
    with pytest.raises(BraindinoError, match="another skull-stripping command"):
        Store.create(filled.path, CONTRACT, strip_cmd="strip {in} {out}")


def test_create_rejects_uncorrected_released_code(tmp_path: Path) -> None:
    uncorrected = Preprocessing.preset("released-code", normalise="zscore-background")
    Store.create(tmp_path / "old", uncorrected)
    with pytest.raises(BraindinoError, match="prepared") as error:
        Store.create(tmp_path / "old", Preprocessing.preset("released-code"))
    assert "normalise=zscore-background" in str(error.value)
    assert "normalise=zscore-clipped" in str(error.value)
    assert uncorrected.digest != Preprocessing.preset("released-code").digest


def test_open_rejects_paths_without_store(tmp_path: Path, filled: Store) -> None:
    with pytest.raises(BraindinoError, match=r"no store there.*\n.*braindino prepare"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(BraindinoError, match="neither empty nor a store"):
        Store.create(tmp_path / "scans", CONTRACT)
    (filled.path / "contract.json").write_text('{"format": 99}')
    with pytest.raises(BraindinoError, match="format 99"):
        Store.open(filled.path)


def test_index_of_empty_store_is_empty(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", CONTRACT)
    assert tuple(store.index().columns) == INDEX_COLUMNS
    assert store.index()["depth"].dtype == np.int64
    assert len(store.index()) == len(store.rejects()) == 0


def test_slice_raises_out_of_range_and_for_lost_arrays(filled: Store) -> None:
    keys = filled.index()["key"]
    for i in (-1, 6):
        with pytest.raises(IndexError, match="no slice"):
            filled.slice(keys[0], i)
    filled.layout.array(keys[0]).unlink()
    for read in (lambda: filled.slice(keys[0], 0), lambda: filled.slices(keys[0])):
        with pytest.raises(BraindinoError, match="gone; run `braindino prepare` again"):
            read()
    with filled.layout.array(keys[1]).open("r+b") as file:
        file.truncate(300)
    with pytest.raises(BraindinoError, match="damaged"):
        filled.slices(keys[1])


def test_store_bounds_open_maps_and_pickles_without_them(
    tmp_path: Path, save: Callable[..., Path], head: Callable[..., np.ndarray]
) -> None:
    store = Store.create(tmp_path / "store", CONTRACT)
    number = OPEN_MAPS + 10
    fill(
        store,
        pd.DataFrame({"path": [save(f"s{i}.nii", head(seed=i)) for i in range(number)]}),
        progress=False,
    )
    before = len(list(Path("/proc/self/fd").iterdir()))
    for key in store.index()["key"]:
        store.slices(key)
        store.slice(key, 0)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= OPEN_MAPS
    assert len(pickle.dumps(store)) < 2000
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(
        again.slices(store.index()["key"][0]), store.slices(store.index()["key"][0])
    )


def test_read_ledger_ignores_torn_and_foreign_lines(filled: Store) -> None:
    expected = filled.index()
    ledger = next(filled.layout.ledger.glob("*.jsonl"))
    whole = ledger.read_bytes()
    for torn in (whole + b'{"path": "x", "key', whole + b"\x00\x00\n", whole + b"12\n"):
        ledger.write_bytes(torn)
        filled.refresh()
        pd.testing.assert_frame_equal(filled.index(), expected)


def test_read_ledger_uses_latest_record(filled: Store) -> None:
    path = filled.index()["path"][0]
    writer = LedgerWriter(filled.layout.ledger)
    writer.append({**filled.records[path], "subject": "q"})
    writer.close()
    filled.refresh()
    assert filled.index()["subject"][0] == "q"


def _create_at_once(path: Path, depth: int, start: threading.Barrier) -> str:
    start.wait()
    try:
        Store.create(path, CONTRACT.replace(depth=depth))
    except BraindinoError as error:
        return str(error)
    return ""


def test_create_in_parallel_makes_one_store(tmp_path: Path) -> None:
    """Every job with the contract of the first one gets the store; every other job gets an error."""
    for attempt in range(20):
        path, start = tmp_path / f"s{attempt}", threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(_create_at_once, path, 6 + (i % 2) * (attempt % 2), start) for i in range(8)]
            refused = [error for error in (job.result() for job in jobs) if error]
        assert len(refused) == (0 if attempt % 2 == 0 else 4)
        assert all("prepared with a different contract" in error for error in refused)
        assert [file.name for file in path.iterdir()] == ["contract.json"]
