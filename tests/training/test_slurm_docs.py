"""The job script of docs/slurm.md requests the signal that a run handles, early enough."""

import re

from braindino.training.slurm import NEAR_LIMIT
from tests.helpers.documents import blocks


def test_job_script_of_the_docs_sends_a_handled_signal_early_enough() -> None:
    """tests/cli/config/test_parser.py sends it to a run, which saves and requeues."""
    (script,) = (block.text for block in blocks("docs/slurm.md") if block.text.startswith("#!"))
    (option,) = re.findall(r"^#SBATCH --signal=(\w+)@(\d+)$", script, re.MULTILINE)
    assert option[0] == "TERM"
    assert 60 <= int(option[1]) < NEAR_LIMIT
    assert "#SBATCH --requeue" in script
