"""Damage files as disks, editors and attackers do: seeded, one fault at a time."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**30, 0.5, -1.5, "", "x", "../../x", "=1+1", "\x1b[2J"),
    *([], {}, [None], [[]], {"a": 1}, ["a", "b"], [{"a": None}]),
)


def mutants(path: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield what was done and the damaged content, `count` times.

    Args:
        path: an intact file: .json, .yaml, .jsonl, .csv, or any text.
        count: number of damaged versions.
        seed: of the faults.
    """
    source = random.Random(f"{path.name} {seed}")
    whole = path.read_bytes()
    kind = path.suffix
    for _ in range(count):
        if kind in (".json", ".yaml") and source.random() < 0.75:
            yield _structure(whole, kind, source)
        elif kind == ".csv" and source.random() < 0.75:
            yield _table(whole, source)
        else:
            yield _text(whole, kind, source)


def _structure(whole: bytes, kind: str, source: random.Random) -> tuple[str, bytes]:
    """Replace, remove, add or wrap one value of JSON or YAML."""
    tree = json.loads(whole) if kind == ".json" else yaml.safe_load(whole)
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    parent, key, name = source.choice(places)
    value = parent[key]
    fault = source.choice(["replace", "replace", "replace", "remove", "add", "wrap", "unwrap", "number"])
    if fault == "replace":
        parent[key] = source.choice(WRONG)
    elif fault == "remove":
        del parent[key]
    elif fault == "add" and isinstance(parent, dict):
        parent["unheard_of"] = source.choice(WRONG)
    elif fault == "wrap":
        parent[key] = source.choice(
            [[value], {"value": value}, {key if isinstance(key, str) else "a": value}]
        )
    elif fault == "unwrap" and isinstance(value, (dict, list)) and value:
        parent[key] = next(iter(value.values())) if isinstance(value, dict) else value[0]
    else:
        parent[key] = str(value) if isinstance(value, (int, float)) else 7
    shown = repr(parent.get(key) if isinstance(parent, dict) else None)[:40]
    if kind == ".json":
        text = json.dumps(tree)
        if source.random() < 0.1:
            text = text.replace("0.", source.choice(["NaN", "1e999", "-Infinity"]) + ", 0.", 1)
    else:
        text = yaml.safe_dump(tree)
    return f"{fault} {name} -> {shown}", text.encode()


def _places(tree: Any, name: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Yield every container and key below `tree`, with the dotted name."""
    items: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    for key, value in items:
        yield tree, key, f"{name}.{key}"
        yield from _places(value, f"{name}.{key}")


def _table(whole: bytes, source: random.Random) -> tuple[str, bytes]:
    """Damage one cell, row or column of a CSV."""
    rows = [line.split(",") for line in whole.decode().splitlines()]
    row, column = source.randrange(len(rows)), source.randrange(len(rows[0]))
    cell = ["", "nan", "inf", "1e999", "-1", "x", "None", "0.5", '"', "\x00", "=1", "9" * 400]
    faults: dict[str, Callable[[], object]] = {
        "cell": lambda: rows[row].__setitem__(column % len(rows[row]), source.choice(cell)),
        "header": lambda: rows[0].__setitem__(column, source.choice(["", "x", rows[0][0], "prob_"])),
        "drop column": lambda: [each.pop(column % len(each)) for each in rows],
        "drop row": lambda: rows.pop(row),
        "row twice": lambda: rows.insert(row, rows[row]),
        "column twice": lambda: rows.__setitem__(
            slice(None), [[*each, each[column % len(each)]] for each in rows]
        ),
        "long row": lambda: rows[row].append("more"),
        "short row": lambda: rows[row].pop(),
        "headers only": lambda: rows.__delitem__(slice(1, None)),
        "no header": lambda: rows.pop(0),
    }
    fault = source.choice([*faults, "cell", "cell", "cell", "cell"])
    faults[fault]()
    return f"{fault} {row},{column}", "\n".join(",".join(each) for each in rows).encode() + b"\n"


def _text(whole: bytes, kind: str, source: random.Random) -> tuple[str, bytes]:
    """Damage the bytes of any file."""
    place = source.randrange(1, max(2, len(whole)))
    faults: dict[str, Callable[[], bytes]] = {
        "truncated": lambda: whole[:place],
        "empty": lambda: b"",
        "blank": lambda: b"\n\n",
        "zeros": lambda: bytes(len(whole)),
        "flipped": lambda: whole[:place] + bytes([whole[place % len(whole)] ^ 0xFF]) + whole[place + 1 :],
        "utf-16": lambda: whole.decode().encode("utf-16"),
        "latin-1": lambda: whole + "é".encode("latin-1"),
        "a list": lambda: b"[1, 2]",
        "a word": lambda: b"word",
        "null": lambda: b"null",
        "a number": lambda: b"3",
        "deep": lambda: b"[" * 100_000,
        "deep mapping": lambda: b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "twice": lambda: whole + whole,
        "a long number": lambda: b'{"a": ' + b"1" * 10_000 + b"}",
        "conflict": lambda: b"<<<<<<< HEAD\n" + whole + b">>>>>>> other\n",
    }
    if kind == ".yaml":
        bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
        )
        faults |= {
            "bomb": bomb.encode,
            "alias of itself": lambda: b"a: &a [*a]\n",
            "a date": lambda: whole + b"\nd: 2024-13-45\n",
            "a tag": lambda: whole + b"\nd: !!python/object:os.system x\n",
            "a bool": lambda: whole + b"\nd: !!bool maybe\n",
            "a tab": lambda: whole + b"\n\td: 1\n",
            "key twice": lambda: whole + b"\n" + whole,
            "no key": lambda: whole + b"\n? [a]\n: 1\n",
        }
    fault = source.choice(list(faults))
    return f"{fault} at {place}", faults[fault]()
