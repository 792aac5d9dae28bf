"""Options, output and exit codes of `braindino prepare`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.cli.prepare import prepare
from braindino.cli.typed_verb import run
from braindino.datasets.manifest import COLUMNS, Manifest
from braindino.errors import BraindinoError
from braindino.scans.contract import PRESETS, Preprocessing
from braindino.scans.store.store import Store

SMALL: dict[str, Any] = {"depth": 4, "size": (8, 8)}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest of four small scans."""
    rows = []
    for i in range(4):
        path = tmp_path / f"data/s{i}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        volume = np.random.default_rng(i).integers(1, 99, (10, 10, 10)).astype(np.int16)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
        rows.append(
            {"dataset": "made", "subject": f"p{i}", "modality": "T1w", "path": str(path), "group": f"p{i}"}
        )
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    text = ["session", "site", "sex"]
    table[text] = table[text].astype(object).fillna("")
    table["age"] = table["age"].astype(float)
    Manifest(table).write(tmp_path / "made.csv")
    return tmp_path / "made.csv"


def test_prepare_prints_counts_and_reads_nothing_twice(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert prepare(manifest, store, **SMALL) == 0
    assert f"prepared 4, already there 0, rejected 0: {store}" in capsys.readouterr().out
    assert prepare(manifest, store) == 0  # with the contract of the store
    assert "prepared 0, already there 4, rejected 0" in capsys.readouterr().out
    index = Store.open(store).index()
    assert index["subject"].tolist() == ["p0", "p1", "p2", "p3"]
    assert index["dataset"].tolist() == ["made"] * 4


def test_prepare_returns_1_with_rejects(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/s2.nii.gz").write_bytes(b"")
    for prepared in (3, 0):
        assert prepare(manifest, tmp_path / "store", **SMALL) == 1
        out = capsys.readouterr().out
        assert f"prepared {prepared}, already there {3 - prepared}, rejected 1" in out
        assert str(tmp_path / "store/rejects.csv") in out
    assert pd.read_csv(tmp_path / "store/rejects.csv")["reason"].tolist() == ["empty file"]


def test_prepare_changes_fields_of_the_preset(manifest: Path, tmp_path: Path) -> None:
    assert (
        prepare(manifest, tmp_path / "a", contract="minmax", depth="none", size=(8, 9), dtype="float16") == 0
    )
    expected = PRESETS["minmax"].replace(depth=None, size=(8, 9), dtype="float16")
    assert Store.open(tmp_path / "a").contract == expected
    assert prepare(manifest, tmp_path / "b", depth=4, size=8) == 0
    assert Store.open(tmp_path / "b").contract == Preprocessing(**SMALL)


@pytest.mark.parametrize(
    "options", [{"depth": 5}, {"depth": "none"}, {"contract": "paper"}, {"dtype": "float16"}]
)
def test_prepare_refuses_a_different_contract(
    options: dict[str, Any], manifest: Path, tmp_path: Path
) -> None:
    prepare(manifest, tmp_path / "store", **SMALL)
    with pytest.raises(BraindinoError, match="prepared with a different contract"):
        prepare(manifest, tmp_path / "store", **options)
    assert prepare(manifest, tmp_path / "store", depth=4) == 0


def test_prepare_shards_cover_all_scans(manifest: Path, tmp_path: Path) -> None:
    for shard in ("0/2", "1/2"):
        assert prepare(manifest, tmp_path / "store", shard=shard, **SMALL) == 0
    assert len(Store.open(tmp_path / "store").index()) == 4
    for wrong in ("2/2", "1", "a/b", "1/2/3"):
        with pytest.raises(BraindinoError, match="expected i/n"):
            prepare(manifest, tmp_path / "store", shard=wrong)


def test_prepare_records_the_stripping_command_in_the_store(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])")
    command = f"{sys.executable} {tmp_path}/copy.py {{in}} {{out}}"
    assert prepare(manifest, tmp_path / "store", strip_cmd=command, **SMALL) == 0
    assert prepare(manifest, tmp_path / "store") == 0  # nothing is left to strip
    assert Store.open(tmp_path / "store").strip_cmd == command
    with pytest.raises(BraindinoError, match="another skull-stripping command"):
        prepare(manifest, tmp_path / "store", strip_cmd=command + " quickly")


def test_prepare_interrupted_prints_how_to_continue(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("braindino.scans.store.worker.read_scan", interrupt)
        assert prepare(manifest, tmp_path / "store", **SMALL) == 130
    assert "the same command again continues" in capsys.readouterr().err
    assert prepare(manifest, tmp_path / "store") == 0


def test_prepare_options_by_command_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")]
    assert (
        run("prepare", [str(manifest), *store, "--depth", "none", "--size", "[8, 8]", "--retry-rejects"]) == 0
    )
    assert Store.open(tmp_path / "store").contract == Preprocessing(depth=None, size=(8, 8))
    assert run("prepare", [str(manifest), *store, "--jobs", "1", "--shard", "0/1"]) == 0
    with pytest.raises(BraindinoError, match="prepared with a different contract"):
        run("prepare", [str(manifest), *store, "--depth", "7"])
    assert run("prepare", ["--help"]) == 0
    assert "the i-th of n parts" in capsys.readouterr().out


def test_prepare_submitted_jobs_cover_all_scans(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters_of_submitit: dict[str, object] = {}

    class Executor:
        """Replaces the executor of submitit and runs each job at once."""

        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def update_parameters(self, **parameters: object) -> None:
            if "partition" in parameters:
                raise NameError("Unknown argument 'partition'")
            parameters_of_submitit.update(parameters)

        def map_array(
            self, function: Callable[[tuple[int, int]], int], parts: list[tuple[int, int]]
        ) -> list[SimpleNamespace]:
            assert [function(part) for part in parts] == [0] * len(parts)
            return [SimpleNamespace(job_id=f"7_{i}") for i in range(len(parts))]

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor))
    command = [str(manifest), "--store", str(tmp_path / "store"), "--jobs", "1", "--submit", "3"]
    assert run("prepare", [*command, "--depth", "4", "--size", "8", "--cluster.timeout_min", "9"]) == 0
    assert parameters_of_submitit == {"name": "braindino-prepare", "cpus_per_task": 1, "timeout_min": 9}
    assert "submitted 7_0, 7_1, 7_2; logs: " in capsys.readouterr().out
    assert Store.open(tmp_path / "store").contract == Preprocessing(**SMALL)
    assert len(Store.open(tmp_path / "store").index()) == 4
    with pytest.raises(BraindinoError, match="--cluster: Unknown argument 'partition'"):
        run("prepare", [*command, "--cluster.partition", "cpu"])
    with pytest.raises(BraindinoError, match="remove --shard"):
        run("prepare", [*command, "--shard", "0/2"])
    assert run("prepare", command) == 0
    assert parameters_of_submitit["timeout_min"] == 24 * 60
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BraindinoError, match=r"braindino\[cluster\]"):
        run("prepare", command)


def test_prepare_submits_local_jobs_without_slurm(manifest: Path, tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    store = tmp_path / "store"
    command = [str(manifest), "--store", str(store), "--depth", "4", "--size", "8", "--submit", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "braindino", "prepare", *command],
        env={**os.environ, "PATH": str(tmp_path)},  # no srun there
        capture_output=True,
        text=True,
        check=True,
    )
    ids = done.stdout.partition(";")[0].removeprefix("submitted ").split(", ")
    jobs = [submitit.LocalJob(store / "submitted" / number, number) for number in ids]
    assert [job.result() for job in jobs] == [0, 0]
    assert len(Store.open(store).index()) == 4
    assert "prepared 2, already there 0, rejected 0" in jobs[0].stdout()
    with pytest.raises(BraindinoError, match="--cluster: Unknown argument 'partitoin' for executor 'slurm'"):
        run("prepare", [*command, "--cluster.slurm_partitoin", "cpu"])


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"submit": 2, "shard": "0/2"}])
def test_prepare_with_a_wrong_option_makes_no_store(
    manifest: Path, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(BraindinoError):
        prepare(manifest, tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()
