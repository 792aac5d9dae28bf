from pathlib import Path
from typing import Any

import pytest

from braindino.datasets.public.brain_age import BrainAge
from braindino.datasets.splits import nested_fraction
from braindino.errors import DatasetError, LayoutError
from braindino.scans.contract import Preprocessing
from braindino.synthetic.brain_age import write_brain_age
from braindino.synthetic.files import Planted


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    root = tmp_path_factory.mktemp("brain_age")
    return root, write_brain_age(root, 80, sessions=2, shape=(8, 8, 8))


def test_brain_age_rows_have_the_name_of_their_dataset(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    manifest = BrainAge(root).manifest
    columns = ["dataset", "subject", "age"]
    assert sorted(manifest.table[columns].itertuples(index=False, name=None)) == sorted(
        tuple(scan[column] for column in columns) for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert (manifest.table["group"].str.partition(":")[0] == manifest.table["dataset"]).all()


def test_brain_age_splits_are_balanced_over_dataset_and_age(planted: tuple[Path, Planted]) -> None:
    root, _ = planted
    data = BrainAge(root, root / "store", prepare=True)
    data.use_contract(Preprocessing(depth=4, size=(8, 8)))
    data.prepare_data()
    data.setup()
    people = data.cases.drop_duplicates("group")
    assert data.cases.groupby("group")["split"].nunique().max() == 1
    for _, part in people.groupby("dataset"):
        assert (part["split"] == "train").mean() == pytest.approx(0.6, abs=0.12)
        assert set(part["split"]) == {"train", "val", "test"}
    strata = data.strata(data.cases)
    assert set(strata) == {f"{name}/{k}" for name in ("ixi", "long579", "pixar") for k in range(5)}
    train = data.cases.assign(stratum=strata).query("split == 'train'")
    few = nested_fraction(train, 0.5, 0, "stratum")
    assert set(few["stratum"]) == set(train["stratum"])


def test_brain_age_takes_a_root_per_dataset(planted: tuple[Path, Planted], tmp_path: Path) -> None:
    root, truth = planted
    given: dict[str, Any] = {"ixi": root / "IXI", "long579": root / "ds003604", "pixar": root / "ds000228"}
    assert len(BrainAge(tmp_path, **given).manifest.table) == len(truth.scans)
    part = BrainAge(root, datasets=["ixi", "pixar"]).manifest.table
    assert set(part["dataset"]) == {"ixi", "pixar"}
    with pytest.raises(LayoutError, match=r"no folder of ixi .*\n.*data\.ixi"):
        _ = BrainAge(tmp_path).manifest
    with pytest.raises(DatasetError, match=r"data\.datasets: \['ukb'\]"):
        BrainAge(root, datasets=["ukb"])
    (tmp_path / "a" / "scans").mkdir(parents=True)
    for scan in (root / "IXI").glob("*.nii.gz"):
        (tmp_path / "a" / "scans" / scan.name).symlink_to(scan)
    (tmp_path / "a" / "IXI.xls").symlink_to(root / "IXI" / "IXI.xls")
    assert len(BrainAge(tmp_path, datasets=["ixi"]).manifest.table) == (part["dataset"] == "ixi").sum()
