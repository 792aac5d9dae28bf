"""Test the sentences about people whom encoders have seen in pretraining."""

from pathlib import Path
from typing import Any

from braindino.analysis.leakage_notes import leakage_notes
from braindino.analysis.runs import LEAKAGE, Run
from braindino.files import write_json


def run(folder: Path, pretraining: dict[str, Any] | None) -> Run:
    write_json(folder / LEAKAGE, {"audit": {"pretraining": pretraining}})
    return Run(folder)


def test_leakage_notes_join_the_tasks_of_equal_sentences(tmp_path: Path) -> None:
    unknown = {task: run(tmp_path / "a" / task, None) for task in ("age", "sex", "site")}
    seen = {
        "age": run(tmp_path / "b" / "age", {"people": 5, "test": 2, "listed": []}),
        "sex": run(tmp_path / "b" / "sex", {"people": 0, "test": 0, "listed": []}),
        "site": Run(tmp_path / "b" / "site"),
    }
    assert leakage_notes({"a": unknown, "b": seen}) == [
        "age, sex, site: a does not record whom it was pretrained on.",
        "age: WARNING: b was pretrained on 5 of these people, 2 in test.",
        "site: b: no leakage audit beside its predictions.",
    ]
