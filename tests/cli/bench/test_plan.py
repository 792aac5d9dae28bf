"""Test the plan of a bench: its studies, and errors with their place."""

import json
from pathlib import Path

import pytest
import yaml

from braindino.cli.bench.plan import Plan
from braindino.errors import BraindinoError
from braindino.verbs.bench import read_studies, write_studies

WHOLE = {
    "out": "b",
    "encoders": {"mine": "encoder", "scratch": "scratch"},
    "tasks": ["adni_cls", {"config": "oasis_cls.yaml", "name": "old", "data": {"root": "my scans"}}],
    "seeds": [0, 1],
    "fractions": [0.5, 1],
}


def read(tmp_path: Path, content: object) -> Plan:
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(content))
    return Plan.read(file)


def test_plan_studies_are_ordered_by_task(tmp_path: Path) -> None:
    plan = read(tmp_path, WHOLE)
    assert [study.name for study in plan.studies] == [
        *("adni_cls, mine", "adni_cls, scratch", "old, mine", "old, scratch")
    ]
    study = plan.studies[2]
    assert study.folder == Path("b/old/mine/bench")
    assert plan.cells == 4
    assert study.arguments[0] == "--config"
    assert Path(study.arguments[1]).name == "oasis_cls.yaml"
    assert {"--data.root=my scans", "--model.encoder=encoder", "--run.encoder=mine"} <= set(study.arguments)
    assert "--probe.fractions=[0.5, 1.0]" in study.arguments


def test_plan_reads_an_encoder_with_its_store(tmp_path: Path) -> None:
    whole = {"path": "brainiac:x.ckpt", "data": {"store": "store_3d"}}
    task = {"config": "adni_cls", "data.store": "store"}
    plan = read(tmp_path, {"encoders": {"mine": "encoder", "whole": whole}, "tasks": [task]})
    slices, volumes = (set(study.arguments) for study in plan.studies)
    assert {"--model.encoder=encoder", "--data.store=store"} <= slices
    assert {"--model.encoder=brainiac:x.ckpt", "--data.store=store_3d"} <= volumes
    assert "--data.store=store" not in volumes


def test_read_studies_returns_what_write_studies_wrote(tmp_path: Path) -> None:
    plan = read(tmp_path, {**WHOLE, "out": str(tmp_path / "out")})
    write_studies(plan.out, plan.studies, plan.cells)
    studies, cells = read_studies(tmp_path / "out")
    assert (studies[0].task, studies[0].encoder, cells) == ("adni_cls", "mine", 4)
    assert studies[0].folder == tmp_path / "out/adni_cls/mine/bench"
    assert json.loads((tmp_path / "out" / "bench.json").read_text())["cells"] == 4


@pytest.mark.parametrize("folder", ["../other", "/etc"])
def test_read_studies_refuses_a_folder_outside_of_the_bench(folder: str, tmp_path: Path) -> None:
    study = {"task": "t", "encoder": "e", "folder": folder}
    (tmp_path / "bench.json").write_text(json.dumps({"cells": 1, "studies": [study]}))
    with pytest.raises(BraindinoError, match=r"bench\.json: folder .* is not in the bench"):
        read_studies(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": {}}, "no key 'encoder'. Did you mean 'encoders'?"),
        ({"tasks": []}, "'tasks' is missing"),
        ({"encoders": ["encoder"]}, "encoders: expected a name and a path"),
        ({"encoders": {"a/b": "x"}}, "'a/b' is no name for a folder"),
        ({"encoders": {"mine": 3}}, "encoders: expected a name and a path"),
        ({"encoders": {"mine": {"data.store": "s"}}}, "encoders: expected a name and a path"),
        ({"encoders": {"mine": {"path": "x", "run.id": "y"}}}, "encoders: mine: run.id is set by the"),
        ({"tasks": "adni_cls"}, "expected a list of configs"),
        ({"tasks": ["adni_clss"]}, r"tasks\[0\]: adni_clss: no such file. Did you mean adni_cls.yaml"),
        ({"tasks": [{"data.root": "x"}]}, r"tasks\[0\]: expected the name of a config"),
        ({"tasks": ["adni_cls", "adni_cls.yaml"]}, "two tasks are called 'adni_cls'"),
        (
            {"tasks": [{"config": "adni_cls", "probe": {"seeds": [1]}}]},
            "probe.seeds is set by the bench",
        ),
        ({"seeds": 3}, "seeds: expected a list of numbers"),
        ({"fractions": ["all"]}, r"fractions: \['all'\] are not all numbers"),
    ],
)
def test_plan_read_refuses_wrong_content(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(BraindinoError, match=message) as caught:
        read(tmp_path, {**WHOLE, **change})
    assert "bench.yaml" in str(caught.value)


def test_plan_read_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no such file"):
        Plan.read(tmp_path / "bench.yaml")
