"""Shorten parser messages to one line."""

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
    ("arguments", "message"),
    [
        (["--count", "x"], "count: expected int, got 'x'."),
        (["--logger.flush_every", "fast"], "logger.flush_every: expected int, got 'fast'."),
        (["--run.wandb", "on"], "run.wandb: expected one of 'disabled', 'offline', 'online', got 'on'."),
    ],
)
def test_readable_gives_key_expectation_and_value(arguments: list[str], message: str) -> None:
    assert report(arguments) == message


@dataclass(frozen=True)
class Inner:
    """Settings inside those of a class."""

    first: float = 1.0
    last: float | None = 1.0


class Deep:
    """A class with settings of its own."""

    def __init__(self, inner: Inner = Inner()) -> None:
        self.inner = inner


def test_readable_explains_null_inside_class() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Deep, "model")
    given = ["--model", f"{__name__}.Deep", "--model.inner.first", "0.5"]
    with pytest.raises(ArgumentError) as caught:
        parser.parse_args([*given, "--model.inner.last", "null"])
    message = readable(str(caught.value))
    assert message == "model.inner.last: null is understood as --model.inner '{last: null}', or in a config."
    inner = parser.parse_args([*given, "--model.inner", "{last: null}"]).model.init_args.inner
    assert (inner.first, inner.last) == (0.5, None)


def test_readable_joins_unknown_messages() -> None:
    assert readable("a\n  b\n") == "a b"
