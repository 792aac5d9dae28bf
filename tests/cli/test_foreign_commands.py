"""Refuse programs and classes named by an untrusted store or probe unless the user gives them."""

import json
import sys
from pathlib import Path
from shutil import copytree

import pytest

from braindino.cli.main import main
from braindino.scans.store.store import Store


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return a path that exists after the untrusted program has run."""
    return tmp_path / "code-was-run"


@pytest.fixture
def command(tmp_path: Path, mark: Path) -> str:
    """Return a program that creates the mark and then strips."""
    program = tmp_path / "strip.py"
    program.write_text(f"import shutil, sys; open({str(mark)!r}, 'w').close(); shutil.copy(*sys.argv[1:])\n")
    return f"{sys.executable} {program} {{in}} {{out}}"


@pytest.fixture
def store(tmp_path: Path, command: str, cohort: Path) -> Path:
    """Return an empty store whose contract names the program."""
    contract = Store.open(cohort / "store").contract
    return Store.create(tmp_path / "untrusted", contract, command).path


@pytest.mark.parametrize("verb", ["prepare", "embed", "knn", "maps", "probe"])
def test_fill_runs_command_of_store_only_if_user_gives_it(
    verb: str,
    cohort: Path,
    encoder: Path,
    store: Path,
    command: str,
    mark: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest, out = str(cohort / "adni.csv"), str(tmp_path / "out")
    scan = str(next((cohort / "ADNI").rglob("*.nii*")))
    words = {
        "prepare": ["prepare", manifest, "--store", str(store)],
        "embed": ["embed", manifest, "--encoder", str(encoder), "--store", str(store), "--out", out + ".npy"],
        "knn": [
            *("knn", manifest, "--encoder", str(encoder), "--store", str(store)),
            *("--target", "diagnosis", "--out", out, "--k", "1", "--resamples", "0"),
        ],
        "maps": ["maps", scan, "--encoder", str(encoder), "--store", str(store), "--out", out],
        "probe": [
            *("probe", "--config", "adni_cls.yaml", "--data.root", manifest, "--data.store", str(store)),
            *("--model.encoder", str(encoder), "--run.root", out, "--probe.seeds", "[0]"),
            *("--probe.max_epochs", "1", "--probe.resamples", "0", "--probe.baselines", "false"),
        ],
    }[verb]
    option = "--data.strip_cmd" if verb == "probe" else "--strip-cmd"
    assert main(words) == 2
    message = capsys.readouterr().err
    assert not mark.exists()
    assert command in message  # what would run is shown, and how it is accepted
    assert option.removeprefix("--") in message
    assert main([*words, option, command + " "]) == 2  # another command is not this one
    assert not mark.exists()
    assert main([*words, option, command]) == 0
    assert mark.exists()
    mark.unlink()
    assert main(words) == 0  # nothing is left to strip: the store is only read
    assert not mark.exists()


@pytest.fixture(scope="module")
def trained(cohort: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished probe."""
    runs = tmp_path_factory.mktemp("probes")
    words = ["probe", "--config", "adni_cls.yaml", "--data.root", str(cohort / "adni.csv")]
    words += ["--data.store", str(cohort / "store"), "--model.encoder", str(encoder), "--run.root", str(runs)]
    words += ["--probe.seeds", "[0]", "--probe.max_epochs", "1", "--probe.resamples", "0"]
    assert main([*words, "--probe.baselines", "false"]) == 0
    return next(runs.glob("*/*/*"))


def foreign(trained: Path, target: Path, **changes: object) -> Path:
    """Return a copy of the probe with a changed `probe.json`."""
    copytree(trained, target)
    recipe = json.loads((target / "probe.json").read_text())
    (target / "probe.json").write_text(json.dumps({**recipe, **changes}))
    return target


def test_predict_runs_command_of_probe_only_if_user_gives_it(
    trained: Path, cohort: Path, command: str, mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = foreign(trained, tmp_path / "t" / "e" / "run", strip_cmd=command)
    scan = str(next((cohort / "ADNI").rglob("*.nii*")))
    words = ["predict", scan, "--probe", str(run), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert command in capsys.readouterr().err
    assert not mark.exists()
    assert main([*words, "--strip-cmd", "none"]) == 0
    assert not mark.exists()
    other = ["predict", scan, "--probe", str(run), "--out", str(tmp_path / "other")]
    assert main([*other, "--strip-cmd", command]) == 0
    assert mark.exists()


def test_predict_imports_class_of_probe_only_if_user_names_it(
    trained: Path,
    cohort: Path,
    mark: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "my_heads_of_a_stranger.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nfrom braindino.probing import ClassificationHead\n"
        "class Mine(ClassificationHead): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = json.loads((trained / "probe.json").read_text())
    head = {**recipe["head"], "class_path": "my_heads_of_a_stranger.Mine"}
    run = foreign(trained, tmp_path / "t" / "e" / "run", head=head)
    scan = str(next((cohort / "ADNI").rglob("*.nii*")))
    words = ["predict", scan, "--probe", str(run), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "--trust-class my_heads_of_a_stranger.Mine" in capsys.readouterr().err
    assert not mark.exists()
    assert main([*words, "--trust-class", "my_heads_of_a_stranger.Mine"]) == 0
    assert mark.exists()


@pytest.mark.parametrize(
    "class_path", ["os.system", "braindino.__main__.main", "braindino.files.Path", "x", ""]
)
def test_predict_rejects_class_that_is_not_a_head(
    class_path: str, trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = foreign(trained, tmp_path / "t" / "e" / "run", head={"class_path": class_path, "init_args": {}})
    words = ["predict", str(cohort / "ADNI"), "--probe", str(run), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "probe.json" in capsys.readouterr().err


def test_show_command_escapes_control_characters(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copytree(cohort / "store", tmp_path / "store", ignore=lambda *_: ["scans", "ledger"])
    contract = tmp_path / "store" / "contract.json"
    content = json.loads(contract.read_text())
    contract.write_text(json.dumps({**content, "strip_cmd": "\x1b[2J\rx {in} {out}"}))
    assert main(["prepare", str(cohort / "adni.csv"), "--store", str(tmp_path / "store")]) == 2
    message = capsys.readouterr().err
    assert "\x1b" not in message
    assert "\\x1b" in message
