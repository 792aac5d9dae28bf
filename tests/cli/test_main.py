"""Run the command: fast help, one kind of error, exit codes."""

import subprocess
import sys

import pytest

import braindino
from braindino.cli import main as front
from braindino.errors import BraindinoError
from braindino.network import OFFLINE, check_network

HEAVY = ("torch", "lightning", "timm", "monai", "nibabel", "pandas", "numpy", "jsonargparse", "sksurv")


@pytest.mark.parametrize("argument", ["--help", "--version", "nonsense"])
def test_main_imports_nothing_heavy(argument: str) -> None:
    code = (
        "import sys; from braindino.cli.main import main; main([sys.argv[1]]); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_main_runs_as_module_and_prints_version() -> None:
    command = [sys.executable, "-m", "braindino", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"braindino {braindino.__version__}\n"


def test_main_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([]) == 0
    shown = capsys.readouterr().out
    assert set(front.ORDER) == set(front.PLAIN_VERBS) | set(front.LIGHTNING_VERBS)
    assert all(f"\n  {verb} " in shown for verb in front.ORDER)


def test_main_names_similar_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["prepair"]) == 2
    shown = capsys.readouterr().err
    assert "Did you mean `braindino prepare`?" in shown
    assert len(shown.splitlines()) <= 3


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (BraindinoError("a.csv, row 3: no"), 2, "braindino: error: a.csv, row 3: no\n"),
        (KeyboardInterrupt(), 130, "the same command again continues"),
    ],
)
def test_main_returns_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(verb: str, arguments: list[str]) -> int:
        raise raised

    monkeypatch.setattr("braindino.cli.typed_verb.run", fail)
    assert front.main(["index", "x"]) == code
    assert message in capsys.readouterr().err


def test_main_accepts_offline_for_every_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(OFFLINE, "")
    assert front.main(["embed", "x.csv", "--encoder", "e", "--out", "e.csv", "--offline"]) == 2
    assert "--offline" not in capsys.readouterr().err
    with pytest.raises(BraindinoError, match="--offline forbids it"):
        check_network("--run.wandb online")


def test_main_escapes_control_characters_in_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["check", "\x1b[2J\r.csv"]) == 2
    message = capsys.readouterr().err
    assert "\\x1b[2J\\r.csv" in message
    assert message.endswith("\n")


def test_main_shows_traceback_of_defects(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(verb: str, arguments: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("braindino.cli.typed_verb.run", fail)
    with pytest.raises(ZeroDivisionError):
        front.main(["index", "x"])
