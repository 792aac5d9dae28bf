"""The entry point: quick help, one way to fail, exit codes."""

import subprocess
import sys

import pytest

import braindino
from braindino.cli import main as front
from braindino.errors import BraindinoError
from braindino.network import OFFLINE, check_network

HEAVY = ("torch", "lightning", "timm", "monai", "nibabel", "pandas", "numpy", "jsonargparse", "sksurv")


@pytest.mark.parametrize("argument", ["--help", "--version", "nonsense"])
def test_nothing_heavy_is_imported(argument: str) -> None:
    code = (
        "import sys; from braindino.cli.main import main; main([sys.argv[1]]); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_module_and_version() -> None:
    command = [sys.executable, "-m", "braindino", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"braindino {braindino.__version__}\n"


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([]) == 0
    shown = capsys.readouterr().out
    assert set(front.ORDER) == set(front.PLAIN_VERBS) | set(front.LIGHTNING_VERBS)
    assert all(f"\n  {verb} " in shown for verb in front.ORDER)


def test_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["prepair"]) == 2
    shown = capsys.readouterr().err
    assert "Did you mean `braindino prepare`?" in shown
    assert len(shown.splitlines()) <= 3


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (BraindinoError("a.csv, row 3: no"), 2, "braindino: error: a.csv, row 3: no\n"),
        (KeyboardInterrupt(), 130, "the same command again goes on"),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    told: str,
) -> None:
    def fail(verb: str, arguments: list[str]) -> int:
        raise raised

    monkeypatch.setattr("braindino.cli.typed_verb.run", fail)
    assert front.main(["index", "x"]) == code
    assert told in capsys.readouterr().err


def test_offline_is_for_every_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(OFFLINE, "")
    assert front.main(["embed", "x.csv", "--encoder", "e", "--out", "e.csv", "--offline"]) == 2
    assert "--offline" not in capsys.readouterr().err
    with pytest.raises(BraindinoError, match="--offline forbids it"):
        check_network("--run.wandb online")


def test_errors_carry_nothing_that_a_terminal_acts_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["check", "\x1b[2J\r.csv"]) == 2
    message = capsys.readouterr().err
    assert "\\x1b[2J\\r.csv" in message
    assert message.endswith("\n")


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(verb: str, arguments: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("braindino.cli.typed_verb.run", fail)
    with pytest.raises(ZeroDivisionError):
        front.main(["index", "x"])
