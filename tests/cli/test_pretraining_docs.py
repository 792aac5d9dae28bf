"""docs/pretraining.md and docs/slurm.md: commands are understood, and the job asks for the right signal."""

import re
import shlex
from pathlib import Path

import pytest

from braindino.cli.arguments import check_arguments
from braindino.cli.configs import resolve_configs
from braindino.cli.ending import NEAR

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def script() -> str:
    found = re.search(r"```bash\n(#!.*?)```", (DOCS / "slurm.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def test_commands_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (DOCS / "pretraining.md").read_text()
    monkeypatch.chdir(tmp_path)
    (watch,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    Path("watch.yaml").write_text(watch)
    commands = re.findall(r"^braindino (.*)$", guide, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        verb, *arguments = shlex.split(command)
        check_arguments(verb, resolve_configs(arguments))


def test_its_command_is_understood(script: str) -> None:
    line = script[script.index("srun braindino") :].replace("\\\n", " ")
    _, _, verb, *arguments = shlex.split(line.replace("$SLURM_JOB_NUM_NODES", "2"))
    check_arguments(verb, resolve_configs(arguments))


def test_the_signal_is_one_that_is_listened_to_early_enough(script: str) -> None:
    """tests/cli/test_lightning.py sends it to a run, which saves and requeues."""
    (option,) = re.findall(r"^#SBATCH --signal=(\w+)@(\d+)$", script, re.MULTILINE)
    assert option[0] == "TERM"
    assert 60 <= int(option[1]) < NEAR
    assert "#SBATCH --requeue" in script
