"""Test finding and reading run folders, and grouping them into models."""

import json
from pathlib import Path

import pytest

from braindino.analysis.runs import Run, find_runs, runs_by_model, short_names


def folder(path, name=None):
    path.mkdir(parents=True)
    (path / "predictions.csv").write_text("")
    if name is not None:
        (path / "config.yaml").write_text(f"run: {{name: {name}}}\n")
    return path


def layout(models):
    return {name: {task: run.path for task, run in runs.items()} for name, runs in models.items()}


def test_find_runs_ignores_subfolders_of_a_run(tmp_path):
    run = folder(tmp_path / "adni" / "enc" / "1")
    folder(run / "cells" / "seed0_fraction1.0")
    folder(run / "baselines" / "age_sex_site")
    assert find_runs(tmp_path) == [Run(run)]
    assert find_runs(run) == [Run(run)]
    with pytest.raises(ValueError, match="no such folder"):
        find_runs(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no finished probe in it"):
        find_runs(tmp_path / "empty")


def test_find_runs_follows_the_plan_of_a_bench(tmp_path):
    names = ["zeta", "alpha", "mid"]
    runs = [folder(tmp_path / task / name / "bench") for task in ("oasis", "adni") for name in names]
    studies = [{"folder": str(run.relative_to(tmp_path))} for run in runs]
    (tmp_path / "bench.json").write_text(json.dumps({"studies": studies}))
    other = folder(tmp_path / "abide" / "alpha" / "1")
    assert [run.path for run in find_runs(tmp_path)] == [*runs, other]
    assert list(runs_by_model([tmp_path])) == names
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(ValueError, match=r"bench\.json: not valid JSON .* damaged or edited"):
        find_runs(tmp_path)


def test_runs_by_model_groups_runs_by_encoder(tmp_path):
    runs = {(t, e): folder(tmp_path / t / e / "1") for t in ("adni", "oasis") for e in ("a", "b")}
    expected = {e: {t: runs[t, e] for t in ("adni", "oasis")} for e in ("a", "b")}
    assert layout(runs_by_model([tmp_path])) == expected
    one_by_one = [runs[key] for key in (("oasis", "b"), ("adni", "a"), ("adni", "b"), ("oasis", "a"))]
    grouped = layout(runs_by_model(one_by_one))
    assert grouped == expected
    assert list(grouped) == ["b", "a"]  # the first one named is compared with the others


def test_runs_by_model_groups_by_argument_where_encoders_repeat_tasks(tmp_path):
    first, second = (folder(tmp_path / "adni" / "enc" / name) for name in ("1", "2"))
    assert layout(runs_by_model([first, second])) == {"1": {"adni": first}, "2": {"adni": second}}
    with pytest.raises(ValueError, match=r"two runs of adni: .*1 and .*2; give the run folders"):
        runs_by_model([tmp_path])
    mine, yours = (folder(tmp_path / owner / "x" / "encoder" / "1", "ixi") for owner in ("mine", "yours"))
    grouped = layout(runs_by_model([tmp_path / "mine", tmp_path / "yours"]))
    assert grouped == {"mine": {"ixi": mine}, "yours": {"ixi": yours}}


def test_short_names_are_as_short_as_possible():
    assert short_names([Path("/a/enc/1"), Path("/b/enc/1")]) == ["a/enc/1", "b/enc/1"]
    assert short_names([Path("/a/x")]) == ["x"]


def test_run_names_damaged_files(tmp_path):
    run = Run(folder(tmp_path / "adni" / "enc" / "1"))
    with pytest.raises(ValueError, match=r"no results\.json; the run is not finished"):
        run.results  # noqa: B018
    (run.path / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json: not valid JSON"):
        run.results  # noqa: B018
    assert run.starts == []
    assert run.task == "adni"
