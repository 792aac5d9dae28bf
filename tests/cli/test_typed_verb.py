"""Run plain verbs: arguments as users type them, and errors that name similar arguments."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from braindino.cli import typed_verb as plain
from braindino.cli.main import PLAIN_VERBS, main
from braindino.errors import BraindinoError


def example(source: Path, out: Path | None = None, jobs: int = 1, retry_rejects: bool = False) -> int:
    """Do a thing.

    Args:
        source: where from.
        out: where to.
        jobs: how many.
        retry_rejects: once more.
    """
    seen.append({"source": source, "out": out, "jobs": jobs, "retry_rejects": retry_rejects})
    return 0


def several(
    *sources: Path, encoder: list[str], point: tuple[int, int, int] | None = None, fast: bool = False
) -> int:
    """Do a thing with several.

    Args:
        sources: any number of them.
        encoder: one or more.
        point: where.
        fast: at once.
    """
    seen.append({"sources": sources, "encoder": encoder, "point": point, "fast": fast})
    return 0


seen: list[dict[str, Any]] = []


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> str:
    class Module:
        index = staticmethod(example)

    seen.clear()
    monkeypatch.setattr(plain, "import_module", lambda name: Module)
    return "index"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a b"], {"source": Path("a b")}),
        (["a", "--jobs", "3", "--out", "x.csv"], {"jobs": 3, "out": Path("x.csv")}),
        (["a", "--retry-rejects"], {"retry_rejects": True}),
        (["--retry_rejects", "a"], {"retry_rejects": True, "source": Path("a")}),
        (["a", "--retry-rejects", "false"], {"retry_rejects": False}),
    ],
)
def test_arguments(verb: str, arguments: list[str], expected: dict[str, Any]) -> None:
    assert plain.run(verb, arguments) == 0
    assert expected.items() <= seen[-1].items()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a", "b c", "--encoder", "x"], {"sources": (Path("a"), Path("b c")), "encoder": ["x"]}),
        (["--encoder", "x", "a", "--encoder", "1"], {"sources": (Path("a"),), "encoder": ["x", "1"]}),
        (["--encoder=[x,y]", "a"], {"encoder": ["x", "y"]}),
        (["a", "--encoder", "x", "b", "--fast", "c"], {"sources": (Path("a"), Path("b"), Path("c"))}),
        (["a", "--encoder", "x", "--point", "3", "40", "-1"], {"point": (3, 40, -1)}),
        (["--encoder", "x", "--point", "[3,40,52]", "--fast", "a"], {"point": (3, 40, 52), "fast": True}),
    ],
)
def test_run_accepts_several_positional_arguments(
    verb: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: dict[str, Any]
) -> None:
    monkeypatch.setattr(plain.import_module("any"), "index", staticmethod(several))  # type: ignore[attr-defined]
    assert plain.run(verb, arguments) == 0
    assert expected.items() <= seen[-1].items()


def test_run_help_shows_several_arguments(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plain.import_module("any"), "index", staticmethod(several))  # type: ignore[attr-defined]
    assert plain.run(verb, ["--help"]) == 0
    assert "any number of them" in capsys.readouterr().out
    with pytest.raises(BraindinoError, match="sources"):
        plain.run(verb, ["--encoder", "x"])
    with pytest.raises(BraindinoError, match="required: --encoder"):
        plain.run(verb, ["x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--jbos", "3"], "no argument --jbos. Did you mean --jobs?"),
        (["a", "--job", "3"], "no argument --job. Did you mean --jobs?"),
        (["a", "--jobs", "many"], "jobs: expected int, got 'many'"),
        ([], "required: source"),
    ],
)
def test_wrong_arguments(verb: str, arguments: list[str], message: str) -> None:
    with pytest.raises(BraindinoError) as caught:
        plain.run(verb, arguments)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("verb", sorted(set(PLAIN_VERBS) - {"doctor"}))  # which reads its arguments itself
def test_run_every_verb_is_documented(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    function = plain.verb_function(verb)
    for name in signature(function).parameters:
        assert f"{name}:" in (function.__doc__ or ""), f"{verb}: {name} is not documented"
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: braindino {verb}" in shown
    assert "<class" not in shown
    short = (function.__doc__ or "").splitlines()[0].rstrip(".")
    assert short in " ".join(shown.split())
    assert "_" not in "".join(word for word in shown.split() if word.startswith("--"))
