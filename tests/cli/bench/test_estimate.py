"""Test the estimate of `bench --dry-run`, which computes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from braindino.cli.bench.estimate import (
    BaselineCells,
    Estimate,
    Extraction,
    estimate_bench,
    study_settings,
)
from braindino.cli.bench.plan import Plan
from braindino.errors import BraindinoError

PLAN = """
out: {out}
encoders: {{first: scratch, second: {{path: other, data.store: {other}, data.prepare: true}}}}
seeds: [0, 1]
tasks:
  - config: adni_cls
    data: {{root: {cohort}/ADNI, store: {cohort}/store}}
    probe.cache: {out}/cache
"""


def plan(folder: Path, cohort: Path) -> Plan:
    text = PLAN.format(out=folder / "bench", other=folder / "other", cohort=cohort)
    (folder / "bench.yaml").write_text(text)
    return Plan.read(folder / "bench.yaml")


def test_estimate_contains_only_known_numbers(cohort: Path, tmp_path: Path) -> None:
    asked = plan(tmp_path, cohort)
    assert study_settings(asked.studies[0])["data"]["store"] == f"{cohort}/store"
    lines = estimate_bench(asked.studies, asked.cells).lines(1)
    assert lines[0] == "4 cells, 0 done, 4 left"
    assert "none is known to be extracted" in lines[1]
    assert lines[2].endswith("other does not exist yet and is made when the study begins")
    assert lines[3] == "baseline untrained_encoder: 4 cells, 0 done, 4 left"
    assert lines[4] == "time: not known before two cells of the bench are done"
    folder = asked.studies[0].folder
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps({"encoder": "ab" * 32}))
    entry = tmp_path / "bench" / "cache" / ("ab" * 16) / "slice-float32" / "12" / "123.npy"
    entry.parent.mkdir(parents=True)
    np.save(entry, np.zeros(1))
    assert "of 1 scans in the cache" in estimate_bench(asked.studies, asked.cells).lines(1)[1]


def test_estimate_counts_baselines_by_name(cohort: Path, tmp_path: Path) -> None:
    plan(tmp_path, cohort)
    text = (tmp_path / "bench.yaml").read_text()
    text = text.replace("    probe.cache:", "    probe.baselines: [unet]\n    probe.cache:")
    (tmp_path / "bench.yaml").write_text(text)
    asked = Plan.read(tmp_path / "bench.yaml")
    assert asked.studies[0].baselines == ("unet",)
    known = estimate_bench(asked.studies, asked.cells)
    assert known.left == 4
    assert {name: (part.cells, part.left) for name, part in known.baselines.items()} == {
        "untrained_encoder": (4, 4),
        "unet": (4, 4),
    }
    # Results show which baselines there are.
    folder = asked.studies[0].folder
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"baselines": {"age_sex_site": {}}}))
    assert estimate_bench(asked.studies, asked.cells).baselines["untrained_encoder"].cells == 2


def test_estimate_refuses_a_store_that_does_not_exist(cohort: Path, tmp_path: Path) -> None:
    asked = plan(tmp_path, cohort / "no")
    with pytest.raises(BraindinoError, match=r"adni_cls, first: .*no store there(.|\n)*data\.prepare: true"):
        estimate_bench(asked.studies, asked.cells)


def test_estimate_lines_have_the_time_of_cells() -> None:
    known = Estimate(10, 4, {("a", "store"): Extraction(7, 3)}, (30.0, 5))
    assert known.lines(2)[1:] == [
        "features of a: of 3 scans in the cache; 7 scans in store",
        "time: training about 2 min at 30.0 s per cell (median of 5 times between finished cells), "
        "with 2 jobs at best 60 s",
        "      not counted: extraction of features",
    ]
    baselines = {"unet": BaselineCells(10, 2, 60.0), "no_tokens": BaselineCells(10, 3)}
    with_baselines = Estimate(10, 4, {}, (30.0, 5), baselines).lines(1)
    assert with_baselines[1:3] == [
        "baseline unet: 10 cells, 8 done, 2 left",
        "baseline no_tokens: 10 cells, 7 done, 3 left",
    ]
    assert with_baselines[3].startswith("time: training about 6 min at 30.0 s per cell")
    assert Estimate(10, 0, {}, (30.0, 5), baselines).lines(1)[-2].startswith("time: training about 4 min")
    assert Estimate(10, 0).lines(1) == ["10 cells, 10 done, 0 left"]


def test_bench_dry_run_imports_nothing_heavy(cohort: Path, tmp_path: Path) -> None:
    plan(tmp_path, cohort)
    code = (
        "import sys; from braindino.cli.main import main; "
        f"assert main(['bench', {str(tmp_path / 'bench.yaml')!r}, '--dry-run']) == 0; "
        "print(sorted({'torch', 'lightning', 'timm', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
