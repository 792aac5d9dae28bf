"""Run every command of README and docs, page by page."""

import re
import runpy
import shlex
from pathlib import Path
from pkgutil import resolve_name

import pytest

from braindino.cli.config.files import shipped_configs
from braindino.cli.demo import MADE
from braindino.cli.main import ORDER, main
from braindino.datasets.manifest import Manifest
from tests.helpers.documents import ROOT, SHELL, Block, blocks, inline_commands, pages
from tests.helpers.tiny_vit import SCRATCH

CONF = ROOT / "tests" / "conf"

# Options added to a command to make it small, by verb; a later option overrides an earlier.
ADDED = {
    "synth": "--people 14 --sessions 1 --shape 12 14 12",
    "prepare": "--jobs 1",
    "fit": f"--config {CONF / 'tiny_fit.yaml'}",
    "space": "--neighbours 5",
    "knn": "--resamples 20",
    "compare": "--resamples 20",
    "report": "--resamples 20",
    "probe": "--probe.seeds [0] --probe.max_epochs 1 --probe.resamples 20 --probe.baselines false",
}
WITH_BASELINES = "--probe.seeds [0] --probe.max_epochs 1 --probe.resamples 20"
# Options added for a config, after those of its verb.
ADDED_WITH = {
    "pretrain_highres.yaml": f"--config {CONF / 'tiny_highres.yaml'}",
    "seg_atlas.yaml": "--data.jobs 1 --data.num_workers 0",
}
# Options for a config in place of those of its verb.
INSTEAD_WITH = {
    "brainsegfounder_stage1_tiny.yaml": "--trainer.max_steps 1",
    "brainsegfounder_stage2_tiny.yaml": "--trainer.max_steps 1",
    "brats_swinunetr_tiny.yaml": "--trainer.max_steps 2 --trainer.check_val_every_n_epoch 1"
    " --data.steps_per_epoch 2 --model.resamples 20",
    "atlas_swinunetr_tiny.yaml": "--trainer.max_steps 2 --trainer.check_val_every_n_epoch 1"
    " --data.steps_per_epoch 2 --model.resamples 20",
}
# Texts of a page that would be too large for a test, and their replacements.
REPLACED = {
    "--model.encoder scratch --": f"--model.encoder {SCRATCH} --",
    "seeds: [0, 1, 2, 3, 4]\nfractions: [0.25, 1.0]": "seeds: [0]",
    "data.store: store}": "data.store: store, probe.max_epochs: 1, probe.resamples: 20}",
    "/scratch/": f"/{SCRATCH.replace(':', '-')}/",
    "--depth 32 --size 64": "--depth 8 --size 16",
    "--trainer.devices 4": "--trainer.devices 1",
    "$SLURM_JOB_NUM_NODES": "1",
}
# Pages that start in an empty folder.
FROM_NOTHING = ("docs/first_hour.md",)
# Commands that are not run, by their beginning, with the reason.
NOT_RUN = {
    "git clone": "needs a network",
    "sudo apt-get": "needs a network and an administrator",
    "make demo": "tests/cli/test_demo.py runs it",
    "make test": "is what runs this test",
    "source ": "activates an environment; the test runs in one",
    "cd ": "the test stays in the reader's folder",
    "braindino prepare adni.csv --store store --jobs 8 --submit": "tests/cli/test_prepare.py does",
    "braindino doctor": "tests/cli/doctor/test_command.py runs it; its output depends on the machine",
}


@pytest.fixture(scope="module")
def ready(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of two steps, its encoder, and a study, made once."""
    folder = tmp_path_factory.mktemp("ready")
    runs, tiny = str(folder / "runs"), ("--config", str(CONF / "tiny_fit.yaml"))
    study, manifest, store = (str(folder / name) for name in ("my_study", "study.csv", "study_store"))
    for command in (
        [
            "fit",
            "--config",
            "pretrain.yaml",
            *tiny,
            f"--data.store={cohort / 'store'}",
            "--run.root",
            runs,
            "--run.id",
            "first",
        ],
        ["export", f"{runs}/pretrain/first", "--out", str(folder / "encoder")],
        ["synth", study, "--dataset", "cohort", *shlex.split(ADDED["synth"])],
        ["index", study, "--dataset", "cohort", "--out", manifest],
        ["prepare", manifest, "--store", store, "--depth", "8", "--size", "16"],
    ):
        assert main(command) == 0
    return folder


@pytest.fixture
def workplace(cohort: Path, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the reader's folder: scans, manifests, stores, an encoder and its run."""
    monkeypatch.chdir(tmp_path)
    Manifest.read(cohort / "adni.csv").write(tmp_path / "adni.csv")
    Manifest.read(ready / "study.csv").write(tmp_path / "study.csv")
    links = {"my_scans": cohort / "ADNI", "store": cohort / "store"}
    links |= {name: ready / name for name in ("my_study", "study_store", "encoder", "runs/pretrain/first")}
    for name, target in links.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("page", pages())
def test_page_commands_run(page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in FROM_NOTHING:
        (workplace / "empty").mkdir()
        monkeypatch.chdir(workplace / "empty")
    for number, block in enumerate(blocks(page)):
        monkeypatch.setenv("BRAINDINO_RUN_ID", f"block{number}")  # two runs of one second would share an id
        where = f"{page}, line {block.line}"
        if block.title:
            Path(block.title).write_text(smaller(block.text))
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), {"__name__": "__main__"})
        elif block.language in SHELL:
            for command in block.commands():
                run(command, where, monkeypatch)


def smaller(text: str) -> str:
    """Return the text with the replacements of REPLACED."""
    for large, small in REPLACED.items():
        text = text.replace(large, small)
    return text


def run(command: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one line of a shell block, unless NOT_RUN lists it."""
    if any(command.startswith(start) for start in NOT_RUN):
        return
    words = shlex.split(smaller(command), comments=True)
    if words[0] == "srun":
        words = words[1:]
    if words[0] == "PYTHONPATH=.":
        words = words[1:]
        monkeypatch.syspath_prepend(str(Path.cwd()))
    if words[0] == "python":
        runpy.run_path(words[1], run_name="__main__")
        return
    if words[0] == "pytest":
        assert pytest.main([*words[1:], "-p", "no:cacheprovider"]) == 0, f"{where}: {command}"
        return
    assert words[0] == "braindino", f"{where}: {command}: neither run nor listed in NOT_RUN"
    instead = [options for config, options in INSTEAD_WITH.items() if config in words]
    added = instead or [
        ADDED.get(words[1], "") if "--baselines" not in words else WITH_BASELINES,
        *(options for config, options in ADDED_WITH.items() if config in words),
    ]
    assert main([*words[1:], *shlex.split(" ".join(added))]) == 0, f"{where}: {command}"


def test_page_exceptions_are_all_used() -> None:
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
    commands = [command for page in pages() for block in blocks(page) for command in block.commands()]
    assert [start for start in NOT_RUN if not any(command.startswith(start) for command in commands)] == []
    assert [large for large in REPLACED if large not in text] == []


def test_page_commands_are_in_shell_blocks() -> None:
    def hidden(block: Block) -> bool:
        lines = block.text.splitlines()
        return block.language not in SHELL and any(line.startswith(("braindino ", "$ ")) for line in lines)

    assert [f"{page}:{block.line}" for page in pages() for block in blocks(page) if hidden(block)] == []
    indented = [
        page
        for page in pages()
        if any(
            line.startswith((" ```", "  ```", "    ```", "~~~"))
            for line in (ROOT / page).read_text().splitlines()
        )
    ]
    assert indented == []


@pytest.mark.parametrize("page", pages())
def test_page_names_existing_verbs(page: str) -> None:
    for verb, *_ in inline_commands(page):
        assert verb in ORDER or verb in ("VERB", "--help", "--version"), f"{page}: braindino {verb}"


def test_readme_names_every_verb_and_config() -> None:
    text = (ROOT / "README.md").read_text()
    assert [verb for verb in ORDER if f"`{verb}`" not in text] == []
    assert [name for name in shipped_configs() if f"`{name}`" not in text] == [], "add it to README.md"


def test_readme_shows_the_results_of_the_demo() -> None:
    text = (ROOT / "README.md").read_text()
    assert [path for path, what in MADE.items() if f"  {path:<22} {what}\n" not in text] == []


@pytest.mark.parametrize("page", pages())
def test_page_names_existing_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:braindino|tests|benchmarks|configs|docs)/[\w./]+)`", text))
    # The reader writes these.
    made_up = {name for name in named if "clinic" in name}
    assert [name for name in named - made_up if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", pages())
def test_page_names_existing_modules_and_classes(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"\bbraindino(?:\.\w+)+(?<!\.py)", text))):
        resolve_name(name)


def test_cited_headings_exist() -> None:
    citation = re.compile(r"(\w+)\.md\)?`?,?[\s#]+[\"“]([^\"”]+)[\"”]")
    missing = []
    for place in ("braindino", "tests", "benchmarks", "configs", "recipes", "docs", "README.md"):
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.suffix not in (".md", ".py", ".yaml"):
                continue
            for page, heading in citation.findall(file.read_text(encoding="utf-8")):
                source = ROOT / "docs" / f"{page}.md"
                title = re.escape(" ".join(heading.replace("#", " ").split()))
                if source.exists() and not re.search(rf"^#+ {title}$", source.read_text(), re.MULTILINE):
                    missing.append(f"{file.relative_to(ROOT)}: {page}.md, {heading!r}")
    assert missing == []
