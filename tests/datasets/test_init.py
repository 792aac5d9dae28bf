import subprocess
import sys
from pathlib import Path

import pytest

import braindino.datasets as datasets
from braindino.datasets import DATASETS, dataset_class
from braindino.datasets.datamodule import ScanDataModule
from braindino.errors import BraindinoError
from braindino.synthetic import GENERATORS, generator


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_datasets_are_importable_by_both_names(name: str) -> None:
    dataset = dataset_class(name)
    assert issubclass(dataset, ScanDataModule)
    assert dataset.name == name
    assert getattr(datasets, dataset.__name__) is dataset


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generators_belong_to_datasets(name: str) -> None:
    assert callable(generator(name))
    assert name in DATASETS


def test_dataset_class_rejects_unknown_names() -> None:
    with pytest.raises(BraindinoError, match=r"no dataset 'oasiss'\. Did you mean 'oasis'"):
        dataset_class("oasiss")
    with pytest.raises(AttributeError, match="Unknown"):
        _ = datasets.Unknown


def test_datasets_registry_imports_nothing_heavy() -> None:
    heavy = "any(m in sys.modules for m in ('torch', 'pandas', 'numpy'))"
    code = f"import sys, braindino.datasets; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_dataset_class_imports_a_dotted_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_study.py").write_text(
        "from braindino.datasets import ScanDataModule\nclass Mine(ScanDataModule): name = 'mine'\n"
    )
    with pytest.raises(BraindinoError, match="No module named 'my_study'"):
        dataset_class("my_study.Mine")
    monkeypatch.syspath_prepend(tmp_path)
    assert dataset_class("my_study.Mine").name == "mine"
    for wrong in ("my_study.Other", "pathlib.Path"):
        with pytest.raises(BraindinoError, match="expected a class that derives from ScanDataModule"):
            dataset_class(wrong)
