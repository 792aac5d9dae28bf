"""Attack the command: files that run code when read, names that lead out of their folder."""

import json
import pickle
import sys
from pathlib import Path
from shutil import copytree
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from braindino.cli.main import main
from braindino.encoders.cache import FeatureCache
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.embedding_files import ids_file
from braindino.encoders.export import export_encoder
from braindino.errors import BraindinoError
from braindino.probing.predict.outputs import write_masks
from braindino.scans.dicom.series import convert_series
from braindino.scans.store.store import Store
from tests.helpers.tiny_vit import SCRATCH

TINY = str(Path(__file__).parent.parent / "conf" / "tiny_fit.yaml")


class Bomb:
    """Open a file for writing when unpickled, as an attacker could run any function."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return a path that exists after a bomb has run."""
    return tmp_path / "code-was-run"


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a finished run."""
    runs = tmp_path_factory.mktemp("trained")
    assert main(fit(cohort, runs)) == 0
    return runs / "pretrain" / "a" / "checkpoints" / "step0000002.ckpt"


def fit(cohort: Path, runs: Path, *more: str, verb: str = "fit") -> list[str]:
    return [
        *(verb, "--config", "pretrain.yaml", "--config", TINY, f"--data.store={cohort / 'store'}"),
        *("--run.root", str(runs), "--run.id", "a", *more),
    ]


def probe(cohort: Path, runs: Path, encoder: str, root: Path | None = None) -> list[str]:
    return [
        *("probe", "--config", "adni_cls.yaml", "--data.root", str(root or cohort / "ADNI")),
        *("--data.store", str(cohort / "store"), "--model.encoder", encoder, "--run.root", str(runs)),
        *("--probe.seeds", "[0]", "--probe.max_epochs", "1", "--probe.resamples", "20"),
        *("--probe.baselines", "false"),
    ]


def booby_trapped(source: Path, target: Path, mark: Path) -> Path:
    """Return a sound checkpoint with one more entry."""
    content = torch.load(source, weights_only=True)
    content["hyper_parameters"] = Bomb(mark)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, target)
    return target


def test_bomb_runs_when_unpickled(mark: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(mark))).close()
    assert mark.exists()


@pytest.mark.parametrize(
    "way", ["export", "export of a run", "probe", "init_from", "ckpt_path", "resume", "validate"]
)
def test_main_rejects_checkpoint_with_code(
    way: str, cohort: Path, trained: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    runs = tmp_path / "runs"
    evil = booby_trapped(trained, runs / "pretrain" / "a" / "checkpoints" / "step0000002.ckpt", mark)
    elsewhere = tmp_path / "other"
    command = {
        "export": ["export", str(evil), "--out", str(tmp_path / "encoder")],
        "export of a run": ["export", str(evil.parent.parent), "--out", str(tmp_path / "encoder")],
        "probe": probe(cohort, runs, str(evil)),
        "init_from": fit(cohort, elsewhere, "--model.init_from", str(evil)),
        "ckpt_path": fit(cohort, elsewhere, "--ckpt_path", str(evil)),
        "resume": fit(cohort, runs),
        "validate": fit(cohort, runs, verb="validate"),
    }[way]
    assert main(command) == 2
    printed = capsys.readouterr().err
    assert not mark.exists()
    assert str(evil.name) in printed
    assert "unpickl" in printed
    assert "safetensors" in printed
    assert len(printed.strip().splitlines()) <= 4


def test_fit_ignores_classes_named_in_checkpoint(cohort: Path, trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained, weights_only=True)
    content["hyper_parameters"] = {"_class_path": "no.such.Module"}
    torch.save(content, tmp_path / "evil.ckpt")
    evil = str(tmp_path / "evil.ckpt")
    assert main(fit(cohort, trained.parents[3], "--ckpt_path", evil, verb="validate")) == 0


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_main_rejects_weights_with_code(
    suffix: str, cohort: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = tmp_path / f"weights{suffix}"
    torch.save({"teacher": {"backbone.cls_token": Bomb(mark)}}, evil)
    assert main(probe(cohort, tmp_path / "runs", str(evil))) == 2
    assert evil.name in capsys.readouterr().err
    evil.write_bytes(pickle.dumps(Bomb(mark), protocol=2))  # bare, as torch before 1.6 wrote
    assert main(probe(cohort, tmp_path / "runs", str(evil))) == 2
    assert not mark.exists()


def test_fit_has_no_option_to_disable_weights_only(
    cohort: Path, trained: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = booby_trapped(trained, tmp_path / "evil.ckpt", mark)
    command = fit(cohort, tmp_path / "runs", "--ckpt_path", str(evil), "--weights_only", "false")
    assert main(command) == 2  # the key does not exist
    assert "weights_only" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize(
    "argument", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained"]
)
def test_load_encoder_rejects_export_naming_other_weights(
    argument: str, trained: Path, tmp_path: Path, mark: Path
) -> None:
    """Older versions of timm unpickle files that these arguments name."""
    folder = tmp_path / "encoder"
    export_encoder(trained, folder)
    torch.save({"state_dict": Bomb(mark)}, folder / "evil.pth")
    config = json.loads((folder / "config.json").read_text())
    file = str(folder / "evil.pth")
    config["model_args"][argument] = file if argument == "checkpoint_path" else {"file": file}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BraindinoError, match=argument):
        load_encoder(str(folder))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "local-dir:encoder"])
def test_load_encoder_rejects_architecture_with_path(name: str) -> None:
    for spec in (name, f"scratch:{name}"):
        with pytest.raises(BraindinoError):
            load_encoder(spec)


def test_cache_ignores_arrays_with_code(tmp_path: Path, mark: Path) -> None:
    cache = FeatureCache(tmp_path, load_encoder(SCRATCH))
    key = "ab" * 20
    cache.path(key).parent.mkdir(parents=True)
    np.save(cache.path(key), np.array([[Bomb(mark)]], dtype=object), allow_pickle=True)
    assert cache.read(key) is None  # ignored, so that it is computed again
    embedding = tmp_path / "evil.npy"
    np.save(embedding, np.array([[Bomb(mark)]], dtype=object), allow_pickle=True)
    ids_file(embedding).write_text("case\na\n")
    assert main(["space", str(embedding), "--out", str(tmp_path / "space.png")]) == 2
    assert not mark.exists()


@pytest.mark.parametrize("verb", ["fit", "probe"])
def test_main_rejects_config_with_python_objects(
    verb: str, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "evil.yaml"
    config.write_text(f"seed_everything: !!python/object/apply:builtins.open ['{mark}', 'w']\n")
    assert main([verb, "--config", str(config)]) == 2
    assert "evil.yaml" in capsys.readouterr().err
    assert main([verb, f"--seed_everything=!!python/object/apply:builtins.open ['{mark}', 'w']"]) == 2
    assert not mark.exists()


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hostile(cohort: Path, tmp_path: Path) -> Path:
    """Return a manifest of real scans in which every name has a path."""
    table = pd.read_csv(cohort / "adni.csv", dtype=str, keep_default_na=False)
    table["path"] = [str((cohort / path).resolve()) for path in table["path"]]
    for column in ("dataset", "subject", "session", "group", "site"):
        table[column] = "../../../../out/" + table[column]
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    table.to_csv(folder / "hostile.csv", index=False)
    return folder / "hostile.csv"


def test_names_of_manifest_stay_inside_folder(
    hostile: Path, cohort: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = hostile.parent
    store, runs = here / "store", here / "runs"
    before = tree(tmp_path)
    assert main(["prepare", str(hostile), "--store", str(store), "--depth", "8", "--size", "16"]) == 0
    assert main([*probe(cohort, runs, SCRATCH, hostile), "--data.store", str(store)]) == 0
    (run,) = runs.glob("*/*/*")
    out = here / "predicted"
    assert main(["predict", str(hostile), "--probe", str(run), "--out", str(out)]) == 0
    made = tree(tmp_path) - before
    assert made
    assert [path for path in made if not {store, runs, out} & set(path.parents)] == []

    (probe_file,) = run.glob("cells/*/probe.pt")
    booby_trapped(probe_file, probe_file, mark)
    assert main(["predict", str(hostile), "--probe", str(run), "--out", str(out)]) == 2
    assert "unpickl" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("case", ["../../x", "sub-1/../../x", "/x", "..", "sub-1_ses-../x"])
def test_predict_masks_stay_inside_folder(case: str, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "out"
    masks = {"../../lesion": np.ones((2, 2, 2), bool)}
    for exclusive in (True, False):
        made = write_masks(out, case, "probe", masks, np.eye(4), exclusive)
        assert all(out in path.resolve().parents for path in made)
    assert all(out in path.parents for path in tree(tmp_path))


def test_probe_with_encoder_named_by_dots_stays_inside_runs(
    cohort: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_encoder(trained, tmp_path / "my" / "encoder")
    inside = tmp_path / "my" / "encoder" / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert main(probe(cohort, tmp_path / "runs", "..")) == 0
    assert [path.parent.name for path in tmp_path.glob("runs/adni_cls/*/*")] == ["encoder"]


def test_fit_rejects_run_id_with_path(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--run.id=..", "--run.id=../x", "--run.name=/tmp/x", "--run.name=."):
        assert main(fit(cohort, tmp_path, option)) == 2
        assert "name of one folder" in capsys.readouterr().err
    assert tree(tmp_path) == set()


def test_store_ignores_ledger_keys_with_paths(cohort: Path, tmp_path: Path) -> None:
    """Keys in the ledger of an untrusted store become file names, also of features."""
    copytree(cohort / "store", tmp_path / "store")
    for file in (tmp_path / "store" / "ledger").iterdir():
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({**line, "key": "../../../out"}) + "\n" for line in lines))
    assert Store.open(tmp_path / "store").index().empty


def test_index_dicom_series_stay_inside_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for dcm2niix that passes on the content of headers."""
    names = ("SeriesNumber", "SeriesDescription", "SeriesInstanceUID", "PatientID")
    facts = dict.fromkeys(names, "../../../../out/x")
    program = tmp_path / "bin" / "dcm2niix"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        "out = Path(sys.argv[sys.argv.index('-o') + 1])\n"
        f"(out / 'v.nii.gz').write_bytes({nib.Nifti1Image(np.ones((4, 4, 4)), np.eye(4)).to_bytes()!r})\n"
        f"(out / 'v.json').write_text({json.dumps(facts)!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    series = tmp_path / "a" / "scans" / "s"
    series.mkdir(parents=True)
    (series / "1.dcm").write_bytes(bytes(128) + b"DICM")
    out = tmp_path / "a" / "out"
    before = tree(tmp_path)
    (row,) = convert_series([series], series.parent, out, progress=False)
    assert (out / row.output).is_file()
    assert all(out in path.parents for path in tree(tmp_path) - before)
