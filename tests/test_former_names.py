"""Test that datasets and heads written for version 0.1 still import what its documentation listed."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from braindino.datasets import ScanDataModule
from braindino.probing import ClassificationHead, FrozenProbeModule
from braindino.synthetic.rendering import SyntheticHead

NAMES = {
    "analysis.metrics": "auroc classification_metrics confusion_matrix regression_metrics",
    "datasets.synthetic.files": "person save_nifti write_csv",
    "datasets.synthetic.heads": "Head Lesion Rendered render",
    "datasets.walk": "find_scans find_volumes nothing_found stem",
    "probing.closed_form": "ClosedForm CoxNetHead KNNHead LogisticHead RidgeHead linear",
    "probing.heads": "ClassificationHead Head Recipe RegressionHead classification_rows mlp regression_rows",
    "volumetric": "SwinSSLModule SwinUNETRModule",
}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names.split()])
def test_former_name_is_the_present_object(module: str, name: str) -> None:
    former = getattr(import_module(f"braindino.{module}"), name)
    if name != "person":
        assert former is getattr(import_module(former.__module__), former.__name__)
    assert callable(former)


@pytest.mark.parametrize("package", ["analysis.metrics", "probing.heads"])
def test_getattr_refuses_unknown_names(package: str) -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'"):
        _ = import_module(f"braindino.{package}").nonsense


def test_person_is_the_head_that_0_1_returned() -> None:
    from braindino.datasets.synthetic.files import person

    assert person(2, 7, 60.0, "F", -1.0) == SyntheticHead(200_013, 60.0, "F", 0.0)


def test_head_accepts_recipe_as_optimizer_defaults() -> None:
    from braindino.probing.heads import Recipe

    class Slow(ClassificationHead):
        recipe = Recipe(lr=1e-6, weight_decay=0.5)

    class Slower(Slow):
        pass

    for head in (Slow(), Slower()):
        settings = FrozenProbeModule("encoder", head).optimizer_settings
        assert (settings.lr, settings.weight_decay) == (1e-6, 0.5)
    assert FrozenProbeModule("encoder", ClassificationHead()).optimizer_settings.lr == 1e-4


def test_classification_rows_of_the_former_place() -> None:
    from braindino.probing.heads import classification_rows

    probabilities = torch.tensor([[0.75, 0.25]]).numpy()
    rows = classification_rows(probabilities, pd.DataFrame({"target": [1]}), ("CN", "AD"))
    assert list(rows) == ["target", "prediction", "prob_CN", "prob_AD"]


def test_dataset_accepts_left_out_as_exclusion_reason(tmp_path: Path) -> None:
    class Former(ScanDataModule):
        name = "former"

        def left_out(self, scan: dict[str, Any]) -> str:
            return f"not wanted: {scan['subject']}"

    assert Former(tmp_path).exclusion_reason({"subject": "p1"}) == "not wanted: p1"
