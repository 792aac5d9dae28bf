import subprocess
import sys

import pytest

import braindino.datasets as datasets
from braindino.datasets import DATASETS, dataset_class
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.synthetic import GENERATORS, generator
from braindino.errors import BraindinoError


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_dataset_is_importable_by_both_names(name: str) -> None:
    found = dataset_class(name)
    assert issubclass(found, ScanDataModule)
    assert found.name == name
    assert getattr(datasets, found.__name__) is found


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_every_generator_belongs_to_a_dataset(name: str) -> None:
    assert callable(generator(name))
    assert name in DATASETS


def test_unknown_names() -> None:
    with pytest.raises(BraindinoError, match=r"no dataset 'oasiss'\. Did you mean 'oasis'"):
        dataset_class("oasiss")
    with pytest.raises(AttributeError, match="Nobody"):
        _ = datasets.Nobody


def test_the_registry_imports_nothing_heavy() -> None:
    heavy = "any(m in sys.modules for m in ('torch', 'pandas', 'numpy'))"
    code = f"import sys, braindino.datasets; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
