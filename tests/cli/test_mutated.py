"""Run commands on damaged files: exit code 2 and a line with the file, never a traceback."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from braindino.cli.main import main
from tests.helpers.mutations import mutants

TINY = Path(__file__).parent.parent / "conf" / "tiny_fit.yaml"
PLAN = """out: bench
encoders: {one: ENCODER}
seeds: [0]
tasks:
- config: adni_cls.yaml
  name: adni_cls
  data.root: adni.csv
  data.store: store
  probe.max_epochs: 1
  probe.baselines: false
"""


@pytest.fixture(scope="module")
def finished(cohort: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a manifest, a store, an encoder, a finished probe and a plan."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("store", "ADNI"):
        shutil.copytree(cohort / name, folder / name)
    shutil.copy(cohort / "adni.csv", folder)
    shutil.copytree(encoder, folder / "encoder")
    (folder / "bench.yaml").write_text(PLAN.replace("ENCODER", "encoder"))
    shutil.copy(TINY, folder / "fit.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        probe = ["probe", "--config", "adni_cls.yaml", "--data.root", "adni.csv", "--data.store", "store"]
        probe += ["--model.encoder", "encoder", "--run.id", "a", "--probe.seeds", "[0]"]
        assert main([*probe, "--probe.max_epochs", "1", "--probe.resamples", "5"]) == 0
        assert main(["bench", "bench.yaml", "--resamples", "5"]) == 0
    return folder


RUN = "runs/adni_cls/encoder/a"
CELL = f"{RUN}/cells/seed0_fraction1.0"
PREDICT = ("predict", "one.nii", "--probe", RUN, "--out", "predicted")
EMBED = ("embed", "adni.csv", "--encoder", "encoder", "--store", "store", "--out", "f.csv")
REPORT = ("report", "runs", "--out", "r.html", "--resamples", "5")
FIT = ("fit", "--config", "pretrain.yaml", "--config", "fit.yaml", "--data.store", "store", "--print_config")
CASES = [
    (f"{RUN}/probe.json", PREDICT, 8),
    (f"{RUN}/training_scans.json", PREDICT, 4),
    (f"{CELL}/cell.json", PREDICT, 4),
    (f"{RUN}/study.json", PREDICT, 2),
    (f"{RUN}/results.json", REPORT, 5),
    (f"{RUN}/predictions.csv", ("compare", "runs", "bench", "--resamples", "5"), 8),
    (f"{RUN}/config.yaml", ("status", "runs"), 10),
    (f"{RUN}/state.json", ("status", "runs"), 8),
    (f"{RUN}/environment.json", REPORT, 2),
    ("bench/bench.json", ("status", "bench"), 8),
    ("store/contract.json", EMBED, 6),
    ("encoder/config.json", EMBED, 6),
    ("adni.csv", ("check", "adni.csv"), 6),
    ("adni.csv", EMBED, 4),
    ("fit.yaml", FIT, 12),
    ("bench.yaml", ("bench", "bench.yaml", "--dry-run"), 10),
]


@pytest.fixture
def workplace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy in which the commands run."""
    shutil.copytree(finished, tmp_path / "w")
    shutil.copy(next((finished / "ADNI").rglob("*.nii")), tmp_path / "w" / "one.nii")
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.parametrize(
    ("file", "words", "count"), CASES, ids=[f"{Path(file).name}-{words[0]}" for file, words, _ in CASES]
)
def test_main_survives_damaged_files(
    file: str, words: tuple[str, ...], count: int, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(faults(workplace / file, words, count, capsys)) == []


def faults(
    file: Path, words: tuple[str, ...], count: int, capsys: pytest.CaptureFixture[str]
) -> Iterator[str]:
    """Return the unacceptable results for `count` damaged versions of a file."""
    whole = file.read_bytes()
    for what, content in list(mutants(file, count, seed=0)):
        file.write_bytes(content)
        capsys.readouterr()
        try:
            code = main(list(words))
        except Exception as error:  # what the test is about
            yield f"{what}: {type(error).__name__}: {error}"
            continue
        message = capsys.readouterr().err
        if code not in (0, 1, 2):
            yield f"{what}: exit code {code}"
        # Constructors check the values of a config, and their errors name the key.
        named = file.name in message or (file.suffix == ".yaml" and re.search(r"\b\w+[.:]", message))
        if code == 2 and (not named or len(message.strip().splitlines()) > 6):
            yield f"{what}: {message}"
    file.write_bytes(whole)
