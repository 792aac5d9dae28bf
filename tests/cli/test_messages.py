"""Parser reports in words."""

import pytest
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch.loggers.logger import Logger

from braindino.cli.messages import readable
from braindino.cli.run_folder import RunOptions

LOGGER = ["--logger=braindino.cli.metrics_csv.MetricsCSV", "--logger.folder=x"]


def report(arguments: list[str]) -> str:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Logger, "logger")
    parser.add_class_arguments(RunOptions, "run")
    parser.add_argument("--count", type=int | None)
    with pytest.raises(ArgumentError) as caught:
        parser.parse_args([*LOGGER, *arguments])
    return readable(str(caught.value))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--count", "x"], "count: expected int, got 'x'."),
        (["--logger.flush_every", "fast"], "logger.flush_every: expected int, got 'fast'."),
        (["--run.wandb", "on"], "run.wandb: expected one of 'disabled', 'offline', 'online', got 'on'."),
    ],
)
def test_one_line_with_key_expectation_and_value(arguments: list[str], told: str) -> None:
    assert report(arguments) == told


def test_other_messages_are_kept_whole_on_one_line() -> None:
    assert readable("a\n  b\n") == "a b"
