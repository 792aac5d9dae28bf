from pathlib import Path

import pandas as pd
import pytest

import braindino
from braindino.errors import BraindinoError


def test_knn_returns_what_it_writes(
    cohort: Path, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = braindino.knn(
        cohort / "adni.csv",
        [str(encoder), f"untrained:{encoder}"],
        "diagnosis",
        tmp_path / "out",
        k=[1, 3],
        resamples=0,
        store=cohort / "store",
        device="cpu",
        progress=False,
    )
    assert capfd.readouterr() == ("", "")
    assert result.not_prepared == 0
    assert set(result.predictions) == set(result.leakage) == {"encoder", "untrained-encoder"}
    assert sorted(set(result.results["k"])) == [1, 3]
    assert len(result.tests) == 2
    assert set(result.scans["split"]) == {"train", "test"}
    written = pd.read_csv(tmp_path / "out" / "results.csv")
    pd.testing.assert_series_equal(written["value"], result.results["value"])


def test_knn_refuses_stores_that_do_not_fit_the_encoders(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="3 folders for 1 encoders"):
        braindino.knn(tmp_path / "m.csv", "encoder", "group", store=["a", "b", "c"])
