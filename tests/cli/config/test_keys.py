"""Check config keys against signatures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from braindino.cli.config.keys import check_keys, dotted_arguments, import_class, keys_of, nest
from braindino.errors import BraindinoError
from braindino.files import read_yaml


@dataclass
class Views:
    global_size: int = 256
    local_size: int = 112


class Model:
    def __init__(self, backbone: str = "x", views: Views | None = None) -> None:
        pass


class Longer(Model):
    def __init__(self, extra: int = 0, **options: Any) -> None:
        super().__init__(**options)


class Open:
    def __init__(self, **anything: Any) -> None:
        pass


KNOWN = {"model": None, "trainer": {"max_steps": None}, "list": None}
CLASS = f"{__name__}.Model"


@pytest.mark.parametrize(
    "given",
    [
        {"trainer": {"max_steps": 3}},
        {"model": {"class_path": CLASS, "init_args": {"backbone": "y", "views": {"local_size": 3}}}},
        {"model": {"class_path": CLASS, "views": {"local_size": 3}}},
        {"model": {"class_path": f"{__name__}.Open", "init_args": {"whatever": 1}}},
        {"model": {"class_path": f"{__name__}.Longer", "extra": 1, "backbone": "z"}},
        {"list": [{"class_path": CLASS, "init_args": {"backbone": "z"}}, 3]},
    ],
)
def test_check_keys_accepts_known_keys(given: dict[str, Any]) -> None:
    check_keys(given, KNOWN, "c.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modle": {}}, "c.yaml: no key 'modle'. Did you mean 'model'?"),
        ({"trainer": {"max_step": 1}}, "no key 'trainer.max_step'. Did you mean 'trainer.max_steps'?"),
        (
            {"model": {"class_path": CLASS, "init_args": {"bakbone": 1}}},
            "no key 'model.init_args.bakbone'. Did you mean 'model.init_args.backbone'?",
        ),
        (
            {"model": {"class_path": CLASS, "views": {"glob": 1}}},
            "no key 'model.views.glob'.",
        ),
        (
            {"list": [{"class_path": CLASS, "init_args": {"bakbone": 1}}]},
            "Did you mean 'list.init_args.backbone'?",
        ),
        (
            {"model": {"class_path": f"{__name__}.Longer", "bakbone": 1}},
            "Did you mean 'model.backbone'?",
        ),
        ({"model": {"init_args": {}}}, "model has init_args but no class_path"),
        ({"model": {"class_path": f"{__name__}.Modell"}}, f"Did you mean {CLASS}?"),
        ({"model": {"class_path": "no.such.Thing"}}, "No module named 'no'"),
        ({"trainer": {"zzz": 1}}, "Keys there: max_steps."),
    ],
)
def test_check_keys_names_unknown_keys(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BraindinoError) as caught:
        check_keys(given, KNOWN, "c.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("c.yaml: ")


def test_keys_of_lists_parameters() -> None:
    assert keys_of(Views) == {"global_size": int, "local_size": int}
    assert import_class(CLASS, "x", "y") is Model or import_class(CLASS, "x", "y").__name__ == "Model"


@pytest.mark.parametrize("value", [0.5, [], None, "word"])
def test_check_keys_rejects_value_in_place_of_keys(value: object) -> None:
    with pytest.raises(BraindinoError, match=r"f\.yaml: probe: expected keys and values"):
        check_keys({"probe": value}, {"probe": {"seeds": None}}, "f.yaml")


def test_nest() -> None:
    assert nest([("a.b", 1), ("a.c.d", 2), ("e", 3)]) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1,\n", "line 2: not valid YAML"), ("- 1\n", "expected keys and values"), ("\xff", None)],
)
def test_check_arguments_reports_broken_yaml(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BraindinoError, match=message or "UTF-8"):
        read_yaml(path)


def test_check_arguments_rejects_empty_yaml(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize("value", [{"class_path": 7}, {"class_path": "pathlib.Path", "init_args": 7}])
def test_check_keys_rejects_class_path_that_is_not_text(value: dict[str, Any]) -> None:
    with pytest.raises(BraindinoError, match=r"f\.yaml: data\.(class_path|init_args): expected"):
        check_keys({"data": value}, {"data": None}, "f.yaml")


def test_dotted_arguments_rejects_yaml_bomb() -> None:
    levels = ["a0: &a0 {x: 1}"]
    for i in range(12):
        inner = ", ".join(f"k{k}: *a{i}" for k in range(9))
        levels.append(f"a{i + 1}: &a{i + 1} {{{inner}}}")
    with pytest.raises(BraindinoError, match=r"--model.head, line 1: its aliases expand to more than"):
        dotted_arguments(["--model.head", f"{{{', '.join(levels)}}}"])
    assert dotted_arguments(["--a.b", "{c: &c 1, d: *c}", "--e=R&D*"]) == [
        ("a.b", {"c": 1, "d": 1}),
        ("e", "R&D*"),
    ]
