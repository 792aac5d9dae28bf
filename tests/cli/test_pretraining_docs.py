"""docs/pretraining.md and docs/slurm.md: commands are understood, and the job script requeues itself."""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from braindino.cli.arguments import check_arguments
from braindino.cli.configs import resolve_configs

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
    line = script[script.index("srun braindino") :].split("&\n")[0].replace("\\\n", " ")
    _, _, verb, *arguments = shlex.split(line.replace("$SLURM_JOB_NUM_NODES", "2"))
    check_arguments(verb, resolve_configs(arguments))


def test_the_signal_before_the_limit_requeues_the_job(script: str, tmp_path: Path) -> None:
    """With stand-ins for srun and scontrol that write down how they were called."""
    (tmp_path / "job.sh").write_text(script)
    for name, body in {
        "srun": f'cd {tmp_path}; echo "$@" > tmp; mv tmp called; exec sleep 60',
        "scontrol": f'echo "$@" > {tmp_path}/requeued',
    }.items():
        file = tmp_path / name
        file.write_text(f"#!/bin/bash\n{body}\n")
        file.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NUM_NODES": "2",
    }
    job = subprocess.Popen(["bash", str(tmp_path / "job.sh")], env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "called").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "--trainer.num_nodes 2" in (tmp_path / "called").read_text()
        job.send_signal(signal.SIGUSR1)
        job.wait(timeout=30)
        assert (tmp_path / "requeued").read_text() == "requeue 4711\n"
    finally:
        os.killpg(job.pid, signal.SIGKILL)
