"""Test that results.json with contradicting parts is rejected with the key that does not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braindino.analysis.schemas.consistency import check_results
from braindino.errors import DocumentError
from tests.helpers.predictions import cells, classification, write_run


@pytest.fixture
def results(tmp_path: Path) -> Any:
    """Results of a classification with a baseline."""
    table = cells(classification, cases=60)
    run = write_run(tmp_path / "adni_cls" / "enc" / "1", table, baseline=table, resamples=20)
    return json.loads((run / "results.json").read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda results: results["classes"].pop(),
            r"key 'cells\[0\]\.confusion': expected 2 rows of 2 counts",
        ),
        (lambda results: results["classes"].clear(), "key 'classes': a classification has at least two"),
        (
            lambda results: results["summary"].clear(),
            "key 'summary': empty, expected a line per label fraction",
        ),
        (lambda results: results["cells"].clear(), "key 'cells': none of some label fraction"),
        (
            lambda results: results["summary"][0]["test"]["metrics"].pop("auroc"),
            r"key 'summary\[0\]\.test\.metrics\.auroc' is missing",
        ),
        (
            lambda results: results["baselines"]["age_sex_site"]["summary"][0].update(fraction=0.3),
            r"key 'baselines\.age_sex_site\.summary': other label fractions than the study's",
        ),
        (
            lambda results: results["summary"][0]["subgroups"]["sex"][0]["metrics"].pop("auroc"),
            r"key 'summary\[0\]\.subgroups\.sex\[0\]\.metrics\.auroc' is missing",
        ),
    ],
)
def test_check_results_names_the_key_that_does_not_fit(
    results: Any, change: Callable[[Any], object], message: str
) -> None:
    check_results(results, "results.json")
    change(results)
    with pytest.raises(DocumentError, match=f"results.json: {message}"):
        check_results(results, "results.json")
