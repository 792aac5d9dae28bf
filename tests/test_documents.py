"""Read JSON and YAML within bounds and of a declared shape; errors name file and key."""

import os
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from braindino.documents import check_aliases, check_document, load_json, load_text, load_yaml
from braindino.errors import DocumentError


class Inner(TypedDict):
    names: list[str]


class Shape(TypedDict):
    count: int
    ratio: float
    task: Literal["a", "b"]
    inner: Inner
    pair: NotRequired[tuple[float, float] | None]


GOOD: dict[str, Any] = {"count": 1, "ratio": 2, "task": "a", "inner": {"names": ["x"]}, "further": None}


def test_check_accepts_the_shape_and_further_keys() -> None:
    check_document(GOOD, Shape, "f")
    check_document({**GOOD, "pair": [1, 2.5]}, Shape, "f")
    check_document({**GOOD, "pair": None}, Shape, "f")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"count": True}, "key 'count': expected a whole number, found true"),
        ({"count": 1.5}, "key 'count': expected a whole number, found 1.5"),
        ({"count": 10**30}, "key 'count': expected a whole number"),
        ({"ratio": None}, "key 'ratio': expected a number, found null"),
        ({"ratio": 10**400}, "key 'ratio': expected a number"),
        ({"task": "c"}, "key 'task': expected one of a, b, found 'c'"),
        ({"task": "\x1b[2J"}, r"found '\\x1b[2J'"),
        ({"inner": []}, "key 'inner': expected keys and values, found a list"),
        ({"inner": {}}, "key 'inner.names' is missing"),
        ({"inner": {"names": ["x", 3]}}, "key 'inner.names[1]': expected text, found 3"),
        ({"pair": [1]}, "key 'pair': expected a list of 2 values or null, found a list"),
        ({"pair": [1, "x"]}, "key 'pair[1]': expected a number, found 'x'"),
    ],
)
def test_check_names_the_key(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(DocumentError) as caught:
        check_document({**GOOD, **change}, Shape, "file.json")
    assert str(caught.value).startswith("file.json: ")
    assert problem.replace("\\\\", "\\") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "expected keys and values, found a list"),
        (b'{"a": NaN}', "no finite number"),
        (b'{"a": 1e999}', "no finite number"),
        (b'{"a": 1, "a": 2}', "key 'a' occurs twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "not valid JSON"),
        ('{"a": "é"}'.encode("latin-1"), "UTF-8"),
        ("{}".encode("utf-16"), "UTF-8"),
    ],
)
def test_load_json_names_the_file(content: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_bytes(content)
    with pytest.raises(DocumentError, match=r"facts\.json") as caught:
        load_json(file, dict[str, Any])
    assert problem in str(caught.value)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (BOMB, "aliases expand to more than"),
        ("a: &a [*a]\n", "inside its own anchor"),
        ("[" * 5_000, "levels deep"),
        ("a: 1\na: 2\n", "line 2: key 'a' occurs twice"),
        ("a: {b: 1, b: 2}\n", "key 'b' occurs twice"),
        ("- 1\n", "expected keys and values, found a list"),
        ("word\n", "expected keys and values, found 'word'"),
        ("a: 2024-13-45\n", "a value that cannot be read"),
        ("a: !!bool maybe\n", "a value that cannot be read"),
        ("a: !!python/object:os.system x\n", "line 1: not valid YAML"),
        ("a: [1\n", "not valid YAML"),
        ("? [a]\n: 1\n", "not valid YAML"),
        ("a: \x01\n", "not valid YAML"),
        ("x: " + "y" * (5 << 20), "MB at most"),
    ],
)
def test_load_yaml_is_bounded(content: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(content)
    with pytest.raises(DocumentError, match=r"plan\.yaml") as caught:
        load_yaml(file)
    assert problem in str(caught.value)


def test_load_yaml_keeps_anchors_and_merges(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("x: {deep: &b {a: 1, c: 2}}\ny: {<<: *b, a: 3}\nz: {<<: *b}\n")
    assert load_yaml(file) == {
        "x": {"deep": {"a": 1, "c": 2}},
        "y": {"a": 3, "c": 2},
        "z": {"a": 1, "c": 2},
    }
    file.write_text("")
    assert load_yaml(file) == {}


def test_load_text_does_not_wait_for_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DocumentError, match="not a regular file"):
            load_text(path)


def test_check_aliases_checks_text_inside_config() -> None:
    with pytest.raises(DocumentError, match=r"^f: model: 1, line \d+: its aliases expand to more than"):
        check_aliases({"model": ["x", BOMB]}, "f")
    check_aliases({"model": ["a & b * c", "&: *", "{a: &a 1, b: *a}", 3, None]}, "f")
