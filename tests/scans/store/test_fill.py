"""Fill a store: nothing twice and nothing lost, despite kills, moves, damage and parallel jobs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import Scan, read_scan
from braindino.scans.store import worker
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store

CONTRACT = Preprocessing(depth=6, size=(12, 10))


@pytest.fixture
def scans(save: Callable[..., Path], head: Callable[..., np.ndarray]) -> pd.DataFrame:
    """Save twelve scans of twelve people."""
    paths = [save(f"scans/s{i:02}.nii.gz", head(seed=i)) for i in range(12)]
    people = [f"p{i}" for i in range(12)]
    return pd.DataFrame(
        {"path": paths, "dataset": "made", "subject": people, "modality": "T1w", "group": people}
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Create an empty store."""
    return Store.create(tmp_path / "store", CONTRACT)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the scans that are read, in order."""
    names: list[str] = []

    def counted(path: Path | str, *limit: int) -> Scan:
        names.append(Path(path).name)
        return read_scan(path, *limit)

    monkeypatch.setattr(worker, "read_scan", counted)
    return names


def test_fill_twice_reads_nothing(store: Store, scans: pd.DataFrame, read: list[str]) -> None:
    first = fill(store, scans, progress=False)
    assert (first.prepared, first.present, first.rejected) == (12, 0, 0)
    files = sorted(store.layout.ledger.iterdir())
    second = fill(store, scans, progress=False)
    assert (second.prepared, second.present, second.rejected) == (0, 12, 0)
    assert len(read) == 12
    assert sorted(store.layout.ledger.iterdir()) == files


def test_fill_without_people_leaves_the_identity_of_known_scans(store: Store, scans: pd.DataFrame) -> None:
    """`predict` and `maps` take scan files, which may be training scans, into a store."""
    fill(store, scans, progress=False)
    before = store.index()
    fill(store, pd.DataFrame({"path": scans["path"], "subject": "sub-new"}), progress=False)
    store.refresh()
    pd.testing.assert_frame_equal(store.index(), before)
    fill(store, scans.assign(group="other"), progress=False)
    store.refresh()
    assert set(store.index()["group"]) == {"other"}


def test_fill_repeats_only_changed_lost_or_truncated(
    store: Store,
    scans: pd.DataFrame,
    read: list[str],
    save: Callable[..., Path],
    head: Callable[..., np.ndarray],
) -> None:
    fill(store, scans, progress=False)
    keys = store.index()["key"]
    save("scans/s00.nii.gz", head(seed=100))
    store.layout.array(keys[1]).unlink()
    store.layout.sidecar(keys[2]).unlink()
    with store.layout.array(keys[3]).open("r+b") as file:
        file.truncate(500)
    read.clear()
    report = fill(store, scans, progress=False)
    assert read == ["s00.nii.gz", "s01.nii.gz", "s02.nii.gz", "s03.nii.gz"]
    assert (report.prepared, report.present) == (4, 8)
    index = store.index()
    assert (index["key"] != keys).tolist() == [True] + [False] * 11
    assert [store.slices(key).shape for key in index["key"]] == [(6, 12, 10)] * 12


def test_fill_remembers_reject_until_file_changes_or_retry(
    store: Store, save: Callable[..., Path], head: Callable[..., np.ndarray], read: list[str]
) -> None:
    bad = save("scans/bad.nii.gz", np.zeros((8, 8, 8)))
    rows = pd.DataFrame({"path": [bad, bad.with_name("missing.nii.gz")]})
    assert fill(store, rows, progress=False).rejected == 2
    assert fill(store, rows, progress=False).rejected == 2
    assert read == ["bad.nii.gz", "missing.nii.gz", "missing.nii.gz"]
    assert fill(store, rows, progress=False, retry_rejects=True).rejected == 2
    assert read.count("bad.nii.gz") == 2
    save("scans/bad.nii.gz", head())
    report = fill(store, rows, progress=False)
    assert (report.prepared, report.rejected) == (1, 1)
    assert store.rejects()["path"].tolist() == [str(bad.with_name("missing.nii.gz"))]


def test_fill_shares_slices_of_copies_and_moved_scans(
    store: Store, scans: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, scans, progress=False)
    moved = Path(scans["path"][0]).rename(Path(scans["path"][0]).with_name("moved.nii.gz"))
    monkeypatch.setattr(worker, "preprocess", lambda *_: pytest.fail("prepared again"))
    report = fill(store, pd.DataFrame({"path": [moved]}), progress=False)
    assert report.prepared == 1
    assert store.key_of(moved) == store.index()["key"][1]
    assert store.index()["path"].tolist()[:2] == [str(moved), str(scans["path"][0])]


def test_fill_corrects_index_without_reading(store: Store, scans: pd.DataFrame, read: list[str]) -> None:
    fill(store, scans, progress=False)
    read.clear()
    fill(store, scans.assign(group="one family", session=np.nan), progress=False)
    assert read == []
    assert set(store.index()["group"]) == {"one family"}
    assert set(store.index()["session"]) == {""}


def test_fill_shards_are_disjoint_and_complete(store: Store, scans: pd.DataFrame, read: list[str]) -> None:
    doubled = pd.concat([scans, scans])  # a path that comes twice counts once
    done = [fill(store, doubled, shard=(i, 5), progress=False).prepared for i in range(5)]
    assert done == [3, 3, 2, 2, 2]
    assert sorted(read) == [f"s{i:02}.nii.gz" for i in range(12)]
    assert len(pd.read_csv(store.path / "index.csv")) == 12


def test_fill_in_processes_equals_one_process(store: Store, scans: pd.DataFrame, tmp_path: Path) -> None:
    Path(scans["path"][3]).write_bytes(b"broken")
    report = fill(store, scans, jobs=2, progress=False)
    assert (report.prepared, report.rejected) == (11, 1)
    alone = Store.create(tmp_path / "alone", CONTRACT)
    fill(alone, scans, progress=False)
    pd.testing.assert_frame_equal(store.index(), alone.index())
    pd.testing.assert_frame_equal(store.rejects(), alone.rejects())
    for key in store.index()["key"]:
        np.testing.assert_array_equal(store.slices(key), alone.slices(key))


FILL = """
import sys
import pandas as pd
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store
if __name__ == "__main__":
    folder, jobs = sys.argv[1], int(sys.argv[2])
    paths = open(folder + "/paths.txt").read().splitlines()
    report = fill(Store.open(folder + "/store"), pd.DataFrame({"path": paths}), jobs=jobs)
    print(report.prepared, report.present, report.rejected)
"""


def start(tmp_path: Path, scans: pd.DataFrame, jobs: int) -> "subprocess.Popen[str]":
    """Fill the store in a process of its own."""
    (tmp_path / "paths.txt").write_text("\n".join(map(str, scans["path"])))
    (tmp_path / "fill.py").write_text(FILL)
    command = [sys.executable, str(tmp_path / "fill.py"), str(tmp_path), str(jobs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture
def many(save: Callable[..., Path], head: Callable[..., np.ndarray]) -> pd.DataFrame:
    """Save enough scans to interrupt a fill."""
    paths = [save(f"scans/m{i:03}.nii", head((64, 72, 60), seed=i)) for i in range(60)]
    return pd.DataFrame({"path": paths})


@pytest.mark.parametrize("jobs", [1, 2])
def test_fill_continues_after_kill(
    jobs: int, store: Store, many: pd.DataFrame, tmp_path: Path, read: list[str]
) -> None:
    process = start(tmp_path, many, jobs)
    limit = time.monotonic() + 60
    while len(store.records) < 8 and time.monotonic() < limit:
        time.sleep(0.005)
        store.refresh()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)  # which ends when the workers, who hold its output open, have ended too
    assert process.returncode == -signal.SIGKILL
    store.refresh()
    done, begun = dict(store.records), dict(store.history.attempts)
    assert 8 <= len(done) < 60
    # A kill may leave a torn line, and half a file under a temporary name.
    with next(store.layout.ledger.glob("*.jsonl")).open("ab") as ledger:
        ledger.write(b'{"path": "half a li')

    report = fill(store, many, progress=False)
    assert (report.prepared, report.present, report.rejected) == (60 - len(done), len(done), 0)
    apart = [Path(path).name for path in begun]  # read again in processes of their own
    assert len(apart) <= 2 * jobs
    todo = sorted(Path(path).name for path in many["path"] if str(path) not in done)
    assert sorted([*read, *apart]) == todo
    whole = Store.create(tmp_path / "whole", CONTRACT)
    fill(whole, many, progress=False)
    for key, expected in zip(store.index()["key"], whole.index()["key"], strict=True):
        np.testing.assert_array_equal(store.slices(key), whole.slices(expected))


def test_fill_twice_in_parallel_makes_one_store(store: Store, many: pd.DataFrame, tmp_path: Path) -> None:
    first, second = start(tmp_path, many, 1), start(tmp_path, many, 1)
    outputs = [process.communicate(timeout=120)[0].split() for process in (first, second)]
    assert all(rejected == "0" for _, _, rejected in outputs)
    store.refresh()
    assert len(store.index()) == 60
    assert len(pd.read_csv(store.path / "index.csv")) == 60
    assert {store.slices(key).shape for key in store.index()["key"]} == {(6, 12, 10)}
    assert list(store.path.rglob("*.tmp")) == []


def test_fill_interrupted_preserves_finished_scans(
    store: Store, scans: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path | str, *limit: int) -> Scan:
        if "s05" in str(path):
            raise KeyboardInterrupt
        return read_scan(path, *limit)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "read_scan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fill(store, scans, progress=False)
    assert len(pd.read_csv(store.path / "index.csv")) == 5
    report = fill(store, scans, progress=False)
    assert (report.prepared, report.present) == (7, 5)


def test_fill_loses_only_the_scan_that_kills_its_worker(
    store: Store, scans: pd.DataFrame, tmp_path: Path
) -> None:
    """A hook ends a worker that opens one file, as a lack of memory would."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys, os\n"
        "def watch(event, args):\n"
        "    if event == 'open' and 's04.nii' in str(args[0]) and 'multiprocessing' in sys.modules:\n"
        "        import multiprocessing\n"
        "        if multiprocessing.parent_process() is not None: os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(watch)\n"
    )
    (tmp_path / "paths.txt").write_text("\n".join(map(str, scans["path"])))
    (tmp_path / "fill.py").write_text(FILL)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "fill.py"), str(tmp_path), "2"],
        env={**os.environ, "PYTHONPATH": str(hook)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["11", "0", "1"], done.stderr
    store.refresh()
    assert store.rejects()["reason"].tolist() == ["the process that read it died (out of memory?)"]
    report = fill(store, scans, progress=False)  # the scan may be sound, so that it is read again
    assert (report.prepared, report.present, report.rejected) == (1, 11, 0)


def test_fill_rejects_on_internal_error(
    store: Store, scans: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(path: Path | str, *limit: int) -> Scan:
        if "s02" in str(path):
            raise ZeroDivisionError("oh")
        if "s03" in str(path):
            raise MemoryError
        return read_scan(path, *limit)

    monkeypatch.setattr(worker, "read_scan", defective)
    assert fill(store, scans, progress=False).rejected == 2
    reasons = store.rejects()["reason"].tolist()
    assert reasons == ["internal error: ZeroDivisionError: oh", "not enough memory to read it"]


def test_fill_stops_on_full_disk(store: Store, scans: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("braindino.scans.store.layout.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        fill(store, scans, progress=False)


def test_fill_prints_line_every_tenth_without_terminal(
    store: Store, scans: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, scans)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "prepare: 2 of 12 (16 %)"
    assert lines[-1] == "prepare: 12 of 12 (100 %)"
    assert len(lines) == 10
    fill(store, scans)
    assert capsys.readouterr().err == ""


def test_fill_accepts_names_that_are_not_utf8(
    store: Store, save: Callable[..., Path], head: Callable[..., np.ndarray]
) -> None:
    odd = Path(os.fsdecode(os.fsencode(save("scans/a.nii", head())).replace(b"a.nii", b"\xe4.nii")))
    try:
        save("scans/a.nii", head()).rename(odd)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    fill(store, pd.DataFrame({"path": [odd]}), progress=False)
    store.refresh()
    assert store.index()["path"].tolist() == [str(odd)]
    assert b"\xe4.nii" in (store.path / "index.csv").read_bytes()


def test_fill_rejects_wrong_arguments(store: Store, scans: pd.DataFrame) -> None:
    for shard in ((4, 4), (-1, 2), (0, 0)):
        with pytest.raises(BraindinoError, match="expected i/n"):
            fill(store, scans, shard=shard)
    with pytest.raises(BraindinoError, match="jobs is 0"):
        fill(store, scans, jobs=0)
    with pytest.raises(BraindinoError, match="need a column `path`; there are subject"):
        fill(store, scans[["subject"]])


def test_fill_removes_leftovers_after_a_day(store: Store, scans: pd.DataFrame) -> None:
    fill(store, scans, progress=False)
    folder = store.layout.array(store.index()["key"][0]).parent
    old, young = folder / ".old.npy.1-ab.tmp", folder / ".young.npy.1-ab.tmp"
    running = store.layout.stripped / ".running-x"
    running.mkdir(parents=True)
    for path in (old, young, running / "half.nii.gz"):
        path.write_bytes(b"half")
    for path in (old, running):
        os.utime(path, (1, 1))
    fill(store, scans, progress=False)
    assert (old.exists(), young.exists(), running.exists()) == (False, True, False)


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("preprocessing", {"nibabel", "scipy", "pandas", "torch"}),
        ("store.worker", {"pandas", "torch", "matplotlib"}),
    ],
)
def test_worker_and_preprocessing_import_little(module: str, kept_out: set[str]) -> None:
    code = f"import sys, braindino.scans.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not kept_out & set(done.stdout.split())


def test_fill_replaces_processes(store: Store, scans: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braindino.scans.store.pool.TASKS_PER_PROCESS", 3)
    assert fill(store, scans, jobs=2, progress=False).prepared == 12
    assert len(list(store.layout.ledger.iterdir())) >= 3  # one for each process that did something


def test_fill_explains_missing_main_guard(store: Store, scans: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "paths.txt").write_text("\n".join(map(str, scans["path"])))
    (tmp_path / "fill.py").write_text(FILL.replace('if __name__ == "__main__":', "if True:"))
    command = [sys.executable, str(tmp_path / "fill.py"), str(tmp_path), "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert 'must do so under `if __name__ == "__main__":`' in done.stderr
    store.refresh()
    assert len(store.rejects()) == 0
