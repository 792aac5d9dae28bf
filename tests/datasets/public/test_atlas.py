import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.datasets.manifest import Manifest
from braindino.datasets.public.atlas import ATLAS
from braindino.errors import DatasetError, TableError
from braindino.scans.contract import Preprocessing
from braindino.synthetic.atlas import write_atlas
from braindino.synthetic.files import Planted

PEOPLE = 16
SHAPE = (20, 24, 18)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    root = tmp_path_factory.mktemp("atlas")
    return root, write_atlas(root, PEOPLE, shape=SHAPE)


def scans_of(manifest: Manifest) -> pd.DataFrame:
    return manifest.table[manifest.table["modality"] == "T1w"]


def test_atlas_index_lists_days_sites_masks_and_dropped_files(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    manifest = ATLAS(root).manifest
    masks = manifest.table[manifest.table["modality"] == "mask"]
    indexed = scans_of(manifest).assign(mask=lambda t: t["subject"].isin(masks["subject"]))
    columns = ["subject", "site", "days", "mask"]
    assert sorted(indexed[columns].itertuples(index=False, name=None)) == sorted(
        tuple(scan[column] for column in columns) for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert len(truth.dropped) == 5
    both = indexed[indexed["subject"] == "r001s004"]
    assert "space-orig" in both["path"].iloc[0]
    assert indexed["path"].str.contains("ATLAS_2").any()


def test_atlas_keeps_zero_days_on_request_and_needs_no_days_for_lesions(
    planted: tuple[Path, Planted],
) -> None:
    root, truth = planted
    zero = scans_of(ATLAS(root, keep_zero=True).manifest)
    assert len(zero) == len(truth.scans) + 1
    assert zero["days"].min() == 0
    lesions = ATLAS(root, task="lesion").manifest
    assert scans_of(lesions)["subject"].nunique() == PEOPLE - 1
    assert lesions.dropped["reason"].value_counts()["no mask"] == 1
    with pytest.raises(DatasetError, match="expected days or lesion"):
        ATLAS(root, task="volume")  # type: ignore[arg-type]


def test_atlas_task_applies_to_a_written_manifest(planted: tuple[Path, Planted], tmp_path: Path) -> None:
    root, truth = planted
    ATLAS(root).index(root).write(tmp_path / "atlas.csv")
    assert len(scans_of(ATLAS(tmp_path / "atlas.csv").manifest)) == len(truth.scans)
    assert len(scans_of(ATLAS(tmp_path / "atlas.csv", task="lesion").manifest)) == PEOPLE - 1


def ready(root: Path, store: Path, **options: Any) -> Any:
    data = ATLAS(root, store, prepare=True, **options)
    # The grid of the scans themselves, so that nibabel gives the expected mask.
    data.use_contract(Preprocessing(depth=None, size=(SHAPE[1], SHAPE[0])))
    data.prepare_data()
    data.setup()
    return data


def test_atlas_masks_of_any_scale_are_on_the_grid(planted: tuple[Path, Planted], tmp_path: Path) -> None:
    data = ready(planted[0], tmp_path / "store", task="lesion")
    odd = data.dropped[data.dropped["subject"].str.endswith(f"{PEOPLE:03d}")]
    assert len(data.cases) == PEOPLE - 2  # one without a mask, one with another scan's
    assert odd["reason"].str.contains("mask of shape|its mask is rejected").tolist() == [True, True]
    scales = set()
    for number, case in data.cases.iterrows():
        mask = data.mask_of(number)
        drawn = np.asarray(nib.as_closest_canonical(nib.load(case["mask"])).dataobj)
        scales.add(round(float(drawn.max()), 7))
        assert mask.dtype == np.uint8
        assert mask.shape == data.store.slices(case["key_T1w"]).shape
        assert np.array_equal(mask, (drawn.transpose(2, 1, 0) > 0).astype(np.uint8))
        assert mask.any()
    assert len(scales) == 4
    batch = next(iter(data.train_dataloader()))
    assert batch["target"].shape == (4, 0)


def test_atlas_mask_of_a_case_without_mask_raises(planted: tuple[Path, Planted], tmp_path: Path) -> None:
    data = ready(planted[0], tmp_path / "store")
    (without,) = data.cases.index[(data.cases["mask"] == "") & (data.cases["subject"] == "r003s006")]
    with pytest.raises(DatasetError, match=r"atlas:r003s006:1: has no mask"):
        data.mask_of(without)
    assert not any(math.isnan(days) for days in data.cases["target"])


def test_atlas_index_of_a_table_without_days_lists_its_columns(
    planted: tuple[Path, Planted], tmp_path: Path
) -> None:
    write_atlas(tmp_path, 1, shape=(8, 8, 8))
    (table,) = tmp_path.glob("*/*.xlsx")
    pd.DataFrame({"Subject ID": ["sub-r001s001"], "Chronicity": [180]}).to_excel(table, index=False)
    with pytest.raises(TableError, match=r"days post stroke; found 'Subject ID', 'Chronicity'"):
        _ = ATLAS(tmp_path).manifest
