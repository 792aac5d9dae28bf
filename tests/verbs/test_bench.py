from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

import braindino
from braindino.datasets import ADNI
from braindino.errors import BraindinoError
from braindino.probing import LogisticHead, Protocol
from braindino.training.state import record_state
from braindino.verbs.bench import Study


def test_bench_trains_what_is_left_and_compares_the_encoders(
    cohort: Path, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    specs = {"mine": str(encoder), "random": f"untrained:{encoder}"}
    studies = [Study("diagnosis", name, tmp_path / "diagnosis" / name / "bench") for name in specs]
    trained: list[str] = []

    def train(left: Sequence[Study]) -> Mapping[Study, str]:
        for study in left:
            trained.append(study.encoder)
            braindino.probe(
                ADNI(cohort / "ADNI", store=cohort / "store"),
                specs[study.encoder],
                LogisticHead(),
                protocol=Protocol(seeds=[0], resamples=0, baselines=False),
                run_dir=study.folder,
                progress=False,
            )
        return {}

    result = braindino.bench(studies, tmp_path, 1, train, resamples=20, progress=False)
    assert capfd.readouterr() == ("", "")
    assert (trained, dict(result.failed)) == (["mine", "random"], {})
    assert result.table["encoder"].tolist() == ["mine", "random"]
    assert result.table["difference"].notna().tolist() == [False, True]
    assert pd.read_csv(tmp_path / "table.csv")["encoder"].tolist() == ["mine", "random"]
    braindino.bench(studies, tmp_path, 1, train, resamples=20, progress=False)
    assert trained == ["mine", "random"]
    progress = braindino.status(tmp_path)
    assert [(study.name, study.state, study.done) for study in progress] == [
        ("diagnosis, mine", "done", 1),
        ("diagnosis, random", "done", 1),
    ]


def test_bench_refuses_a_study_that_another_process_runs(tmp_path: Path) -> None:
    study = Study("task", "encoder", tmp_path / "run")
    with (
        record_state(study.folder),
        pytest.raises(BraindinoError, match="task, encoder is being run already"),
    ):
        braindino.bench([study], tmp_path, 1, lambda left: {})
