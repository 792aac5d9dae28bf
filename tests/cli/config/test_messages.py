"""Parser reports in words."""

from dataclasses import dataclass

import pytest
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch.loggers.logger import Logger

from braindino.cli.config.messages import readable
from braindino.training.run_folder import RunOptions

LOGGER = ["--logger=braindino.training.csv_logger.MetricsCSV", "--logger.folder=x"]


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


@dataclass(frozen=True)
class Inner:
    """Settings inside those of a class."""

    first: float = 1.0
    last: float | None = 1.0


class Deep:
    """A class with settings of its own."""

    def __init__(self, inner: Inner = Inner()) -> None:
        self.inner = inner


def test_null_that_the_parser_takes_for_text_comes_with_a_way_that_works() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Deep, "model")
    given = ["--model", f"{__name__}.Deep", "--model.inner.first", "0.5"]
    with pytest.raises(ArgumentError) as caught:
        parser.parse_args([*given, "--model.inner.last", "null"])
    told = readable(str(caught.value))
    assert told == "model.inner.last: null is understood as --model.inner '{last: null}', or in a config."
    inner = parser.parse_args([*given, "--model.inner", "{last: null}"]).model.init_args.inner
    assert (inner.first, inner.last) == (0.5, None)


def test_other_messages_are_kept_whole_on_one_line() -> None:
    assert readable("a\n  b\n") == "a b"
