from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from braindino.datasets import dataset_class
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import MASK
from braindino.datasets.public.brats import BraTS2021, BraTS2023, BraTS2024GoAT
from braindino.errors import DatasetError, LayoutError
from braindino.scans.contract import Preprocessing
from braindino.synthetic import generator
from braindino.synthetic.files import Planted

SHAPE = (20, 24, 18)
EDITIONS = ("brats2021", "brats2023", "brats2024_goat")


@pytest.fixture(scope="module")
def editions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Planted]]:
    root = tmp_path_factory.mktemp("brats")
    return {name: (root / name, generator(name)(root / name, people=12, shape=SHAPE)) for name in EDITIONS}


@pytest.mark.parametrize("name", EDITIONS)
def test_brats_index_lists_cases_people_and_dropped_files(
    editions: dict[str, tuple[Path, Planted]], name: str
) -> None:
    root, truth = editions[name]
    manifest = dataset_class(name)(root).manifest
    table = manifest.table
    scans = table[table["modality"] != MASK]
    indexed = scans.groupby(["subject", "session", "group"]).size().reset_index(name="sequences")
    assert sorted(indexed.itertuples(index=False, name=None)) == sorted(
        (scan["subject"], scan["session"], f"{name}:{scan['person']}", scan["sequences"])
        for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert (table["modality"] == MASK).sum() == len(truth.scans)
    assert set(scans["modality"]) == {"T1w", "T1c", "T2w", "FLAIR"}


def test_brats2021_groups_known_pairs(editions: dict[str, tuple[Path, Planted]]) -> None:
    table = BraTS2021(editions["brats2021"][0]).manifest.table.drop_duplicates("subject")
    people = table.groupby("group")["subject"].apply(lambda names: sorted(name[-5:] for name in names))
    assert [pair for pair in people if len(pair) > 1] == [["00557", "00639"], ["00626", "00758"]]


def ready(data: Any) -> Any:
    data.use_contract(Preprocessing(depth=None, size=(SHAPE[1], SHAPE[0])))
    data.prepare = True
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("name", EDITIONS)
def test_brats_masks_have_the_same_labels_in_every_edition(
    editions: dict[str, tuple[Path, Planted]], name: str, tmp_path: Path
) -> None:
    data = ready(dataset_class(name)(editions[name][0], tmp_path / "store"))
    seen = set()
    for number, case in data.cases.iterrows():
        drawn = np.asarray(nib.as_closest_canonical(nib.load(case["mask"])).dataobj)
        seen |= set(np.unique(drawn))
        mask = data.mask_of(number)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, np.where(drawn == 4, 3, drawn).transpose(2, 1, 0))
        wide = {region: np.isin(mask, labels).sum() for region, labels in data.regions.items()}
        assert wide["WT"] >= wide["TC"] >= wide["ET"]
    assert seen == ({0, 1, 2, 4} if name == "brats2021" else {0, 1, 2, 3})
    assert set(data.cases["split"]) == {"train", "val", "test"}
    assert (data.cases["key_T2w"] == "").sum() == 1  # the case without T2 stays
    assert MASK not in set(data.store.index()["modality"])


def test_brats_target_sequence_makes_a_case_of_each_volume(
    editions: dict[str, tuple[Path, Planted]], tmp_path: Path
) -> None:
    root, truth = editions["brats2023"]
    data = ready(BraTS2023(root, tmp_path / "store", target="sequence"))
    # The case without mask serves here.
    assert len(data.cases) == sum(int(str(scan["sequences"])) for scan in truth.scans) + 4
    dropped = {reason: count for reason, count in truth.dropped.items() if reason != "no mask"}
    assert data.dropped["reason"].value_counts().to_dict() == dropped  # masks are not counted
    assert data.cases["case"].is_unique
    assert data.classes == ("T1c", "T1n", "FLAIR", "T2w")
    suffix = {"t1c": 0, "t1n": 1, "t2f": 2, "t2w": 3}
    paths = data.manifest.table.set_index(["subject", "session"])["path"]
    for case in data.cases.itertuples():
        assert case.target == suffix[Path(paths[case.subject, case.session]).name[:-7].rpartition("-")[2]]
    assert data.cases.groupby("group")["split"].nunique().max() == 1
    assert "brats2023:GLI-00000:000-T1c" in set(data.cases["case"])


def test_brats_targets_apply_to_a_written_manifest(
    editions: dict[str, tuple[Path, Planted]], tmp_path: Path
) -> None:
    root, _ = editions["brats2024_goat"]
    BraTS2024GoAT(root).index(root).write(tmp_path / "goat.csv")
    for target in ("mask", "sequence"):
        direct = BraTS2024GoAT(root, target=target).manifest.table
        read = BraTS2024GoAT(tmp_path / "goat.csv", target=target).manifest.table
        assert sorted(read["path"]) == sorted(direct["path"])
    few = BraTS2024GoAT(root, target="sequence", modalities=["T1c", "T2w"])
    assert few.classes == ("T1c", "T2w")
    assert set(few.manifest.table["sequence"]) == {"T1c", "T2w"}
    reasons = few.manifest.dropped["reason"]
    assert {reason.split(":")[0] for reason in reasons if "is not one of" in reason} == {"T1w", "FLAIR"}


def test_brats2023_takes_the_given_cohorts(editions: dict[str, tuple[Path, Planted]]) -> None:
    root, _ = editions["brats2023"]
    table = BraTS2023(root, cohorts=["MEN", "PED"]).manifest.table
    assert set(table["site"]) == {"MEN", "PED"}
    with pytest.raises(DatasetError, match=r"data\.cohorts: \['GIL'\]"):
        BraTS2023(root, cohorts=["GIL"])
    with pytest.raises(DatasetError, match="expected mask or sequence"):
        BraTS2023(root, target="grade")


@pytest.mark.parametrize("edition", [BraTS2021, BraTS2023, BraTS2024GoAT])
def test_brats_index_rejects_another_edition(edition: type[ScanDataModule], tmp_path: Path) -> None:
    (tmp_path / "BraTS20_Training_001_t1.nii").write_bytes(b"\0" * 2000)
    with pytest.raises(LayoutError, match=f"no scan of the dataset '{edition.name}'"):
        _ = edition(tmp_path).manifest
