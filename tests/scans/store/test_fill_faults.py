"""Fill a store under faults: replaced files, a clock set back, crashes, read-only and full disks."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.cli.prepare import prepare
from braindino.datasets.checks.masks import check_masks
from braindino.datasets.manifest import ManifestBuilder
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import Signature, signature
from braindino.scans.store.fill import fill
from braindino.scans.store.ledger import LedgerWriter, clock_lag
from braindino.scans.store.store import Store
from braindino.scans.store.worker import DIED

CONTRACT = Preprocessing(depth=6, size=(12, 10))
Save = Callable[..., Path]
Head = Callable[..., np.ndarray]


@pytest.fixture
def scans(save: Save, head: Head) -> pd.DataFrame:
    return pd.DataFrame({"path": [save(f"scans/s{i}.nii", head(seed=i)) for i in range(4)]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", CONTRACT)


def counts(store: Store, rows: pd.DataFrame, **options: int | bool) -> tuple[int, int, int]:
    report = fill(store, rows, progress=False, **options)  # type: ignore[arg-type]
    store.refresh()
    return report.prepared, report.present, report.rejected


def replace_keeping_times(path: Path, content: bytes) -> None:
    """Put another file of the same length in the place of one, with its times."""
    before = path.stat()
    assert len(content) == before.st_size
    new = path.with_name("new")
    new.write_bytes(content)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)
    assert signature(path)[:2] == (before.st_size, before.st_mtime_ns)


def test_fill_detects_replacement_of_same_size_and_time(
    store: Store, scans: pd.DataFrame, save: Save, head: Head
) -> None:
    counts(store, scans)
    path, old = Path(scans["path"][0]), store.key_of(scans["path"][0])
    replace_keeping_times(path, save("other.nii", head(seed=9)).read_bytes())
    assert store.key_of(path) is None
    assert counts(store, scans) == (1, 3, 0)
    assert store.key_of(path) not in (None, old)


def test_fill_does_not_repeat_after_chmod_or_copy_in_place(store: Store, scans: pd.DataFrame) -> None:
    counts(store, scans)
    path, key = Path(scans["path"][0]), store.key_of(scans["path"][0])
    replace_keeping_times(path, path.read_bytes())
    Path(scans["path"][1]).chmod(0o600)
    assert store.key_of(path) == key
    assert counts(store, scans) == (0, 4, 0)
    ledger = sorted(store.layout.ledger.iterdir())
    assert counts(store, scans) == (0, 4, 0)  # the records are corrected: nothing is in doubt any more
    assert sorted(store.layout.ledger.iterdir()) == ledger


def test_fill_upgrades_records_without_change_time_by_content(store: Store, scans: pd.DataFrame) -> None:
    counts(store, scans)
    for file in store.layout.ledger.iterdir():
        lines = file.read_text().replace('"ctime_ns"', '"x"').replace('"inode"', '"y"')
        file.write_text(lines)
    store.refresh()
    assert store.key_of(scans["path"][0])
    assert counts(store, scans) == (0, 4, 0)


def test_signature_of_damaged_record_matches_no_file() -> None:
    record = {"bytes": 3, "mtime_ns": 4, "ctime_ns": "yesterday", "inode": None}
    assert Signature.of_record(record) == (3, 4, -1, -1)


def test_fill_survives_clock_set_back(
    store: Store, scans: pd.DataFrame, save: Save, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    year = 365 * 24 * 3600 * 10**9
    honest = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: honest() + year)
        counts(store, scans)
    path, old = Path(scans["path"][0]), store.key_of(scans["path"][0])
    path.unlink()
    save("scans/s0.nii", head((21, 24, 16), seed=9))
    assert clock_lag(store.records) > year // 2
    assert counts(store, scans) == (1, 3, 0)
    assert store.key_of(path) not in (None, old)
    assert counts(store, scans) == (0, 4, 0)


def attempted(store: Store, path: Path | str, attempts: int) -> None:
    """Leave what a process that was killed while it read a scan leaves in the ledger."""
    ledger = LedgerWriter(store.layout.ledger)
    ledger.append({"path": str(path), **signature(path)._asdict(), "attempts": attempts})
    ledger.close()


def test_fill_rejects_scan_that_ended_two_processes_without_reading(
    store: Store, scans: pd.DataFrame
) -> None:
    attempted(store, scans["path"][2], 2)
    for _ in range(2):
        assert counts(store, scans)[2] == 1
        assert store.rejects()["reason"].tolist() == [DIED]
    assert counts(store, scans, retry_rejects=True) == (1, 3, 0)
    assert store.rejects().empty


@pytest.mark.parametrize("attempts", [0, 1])
def test_fill_repeats_interrupted_scan(attempts: int, store: Store, scans: pd.DataFrame) -> None:
    attempted(store, scans["path"][2], attempts)
    assert counts(store, scans) == (4, 0, 0)
    assert counts(store, scans) == (0, 4, 0)


KILLER = """
import sys, os
def watch(event, args):
    if event == "open" and "s1.nii" in str(args[0]) and "braindino.scans.store.worker" in sys.modules:
        os.kill(os.getpid(), 9)
sys.addaudithook(watch)
"""


def test_fill_rejects_scan_that_kills_every_process(
    store: Store, scans: pd.DataFrame, tmp_path: Path
) -> None:
    """A hook ends any process that opens one scan, as a lack of memory would."""
    manifest = ManifestBuilder("made")
    for path in scans["path"]:
        manifest.keep(path, Path(path).stem, "T1w")
    manifest.build().write(tmp_path / "m.csv")
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(KILLER)
    python_path = os.pathsep.join([str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "braindino", "prepare", str(tmp_path / "m.csv"), "--store"]
    hooked = {**os.environ, "PYTHONPATH": python_path}
    runs = [
        subprocess.run([*command, str(store.path)], env=hooked, capture_output=True, text=True, timeout=200)
        for _ in range(3)
    ]
    assert runs[0].returncode == -9
    assert runs[1].returncode == 1, runs[1].stderr
    assert "prepared 2, already there 1, rejected 1" in runs[1].stdout
    assert "prepared 0, already there 3, rejected 1" in runs[2].stdout
    rejects = pd.read_csv(store.path / "rejects.csv")
    assert rejects["reason"].tolist() == [DIED]


def test_fill_limits_voxels_and_retries_with_higher_limit(store: Store, scans: pd.DataFrame) -> None:
    voxels = 20 * 24 * 16
    assert counts(store, scans, max_voxels=voxels - 1) == (0, 0, 4)
    assert store.rejects()["reason"].str.contains(f"= {voxels} voxels, more than the {voxels - 1}").all()
    assert counts(store, scans, max_voxels=voxels - 1) == (0, 0, 4)
    assert counts(store, scans, max_voxels=voxels) == (4, 0, 0)


@pytest.fixture
def refuse_writes() -> Iterator[Callable[[Path | None], None]]:
    """Refuse all writing below a folder, as a read-only file system does (which root must obey, too)."""
    below: list[str] = []

    def watch(event: str, args: tuple[object, ...]) -> None:
        if not below or event not in ("open", "os.mkdir", "os.remove", "os.rename", "os.link"):
            return
        flags = args[2] if event == "open" else os.O_CREAT
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and any(str(arg).startswith(below[0]) for arg in args[:2]):
            raise OSError(30, "Read-only file system", str(args[0]))

    sys.addaudithook(watch)

    def refuse(folder: Path | None) -> None:
        below[:] = [] if folder is None else [str(folder)]

    yield refuse
    below.clear()


@pytest.fixture
def no_access(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Replace `os.access` by its behaviour on a read-only file system."""
    honest = os.access

    def refuse(folder: Path) -> None:
        def access(path: Path, mode: int) -> bool:
            return not (mode & os.W_OK and str(path).startswith(str(folder))) and honest(path, mode)

        monkeypatch.setattr(os, "access", access)

    return refuse


def test_fill_does_not_write_to_complete_store(
    store: Store,
    scans: pd.DataFrame,
    refuse_writes: Callable[[Path | None], None],
    no_access: Callable[[Path], None],
    save: Save,
    head: Head,
) -> None:
    counts(store, scans)
    leftover = store.layout.array(str(store.key_of(scans["path"][0]))).with_name(".x.npy.1-ab.tmp")
    leftover.write_bytes(b"")
    os.utime(leftover, (1, 1))
    (store.path / "index.csv").unlink()  # by a job that was killed
    refuse_writes(store.path)
    no_access(store.path)
    assert counts(store, scans.assign(group="corrected")) == (0, 4, 0)
    Path(scans["path"][1]).chmod(0o600)
    assert counts(store, scans) == (0, 4, 0)
    more = pd.DataFrame({"path": [*scans["path"], save("scans/new.nii", head(seed=7))]})
    with pytest.raises(BraindinoError, match=r"read-only, and 1 scans are not in it; the first is .*new.nii"):
        counts(store, more)


def test_check_masks_on_read_only_store(
    store: Store,
    save: Save,
    head: Head,
    refuse_writes: Callable[[Path | None], None],
    no_access: Callable[[Path], None],
) -> None:
    rows = ManifestBuilder("made")
    for name, shape in (("a", (20, 24, 16)), ("b", (4, 4, 4))):
        rows.keep(save(f"{name}.nii", head()), name, "T1w")
        rows.keep(save(f"{name}_mask.nii", np.ones(shape, np.uint8)), name, "mask")
    table = rows.build().table
    counts(store, table[table["modality"] != "mask"])
    refuse_writes(store.path)
    no_access(store.path)
    assert check_masks(store, table, progress=False) == (2, 1)
    assert store.rejects()["reason"].str.startswith("mask of shape (4, 4, 4)").all()


def test_prepare_on_full_disk_prints_one_line_and_continues(
    scans: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = ManifestBuilder("made")
    for path in scans["path"]:
        manifest.keep(path, Path(path).stem, "T1w")
    manifest.build().write(tmp_path / "m.csv")
    small = {"depth": 4, "size": (8, 8)}
    honest, left = os.fsync, [7]  # contract, then two files a scan: full at the fourth

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        honest(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            BraindinoError, match=r"store/.*: No space left on device\.\n.*same command continues"
        ):
            prepare(tmp_path / "m.csv", tmp_path / "store", **small)  # type: ignore[arg-type]
    assert not list((tmp_path / "store").rglob("*.tmp"))
    before = len(Store.open(tmp_path / "store").index())
    assert before == 3
    assert prepare(tmp_path / "m.csv", tmp_path / "store") == 0
    assert len(Store.open(tmp_path / "store").index()) == 4


def test_ledger_writer_raises_on_torn_record(
    store: Store, scans: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: honest(descriptor, content[:20]))
    with pytest.raises(OSError, match=r"No space left on device: .*ledger"):
        fill(store, scans, progress=False)
