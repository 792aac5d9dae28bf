from pathlib import Path

import pytest

from braindino.datasets.manifest import Manifest
from braindino.datasets.public.abide import ABIDE
from braindino.datasets.splits import split_people
from braindino.synthetic.abide import write_abide
from braindino.synthetic.files import Planted


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted, Manifest]:
    root = tmp_path_factory.mktemp("abide")
    truth = write_abide(root, 30, shape=(8, 8, 8))
    return root, truth, ABIDE(root).index(root)


def test_abide_index_lists_labels_sites_and_dropped_files(planted: tuple[Path, Planted, Manifest]) -> None:
    _, truth, manifest = planted
    columns = ["subject", "site", "diagnosis"]
    assert sorted(manifest.table[columns].itertuples(index=False, name=None)) == sorted(
        tuple(scan[column] for column in columns) for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert set(manifest.table["sex"]) == {"F", "M"}
    assert manifest.table["age"].between(7, 45).all()


def test_abide_index_groups_people_of_both_releases(planted: tuple[Path, Planted, Manifest]) -> None:
    _, truth, manifest = planted
    people = {(scan["subject"], scan["site"]): f"abide:{scan['person']}" for scan in truth.scans}
    for row in manifest.table.itertuples():
        assert row.group == people[row.subject, row.site]
    assert set(manifest.table.loc[manifest.table["group"] == "abide:50810", "subject"]) == {"50810", "29355"}
    twice = manifest.table["group"].value_counts()
    assert (twice == 2).sum() == 2
    split = split_people(manifest.table, stratify=["diagnosis", "site"])
    assert manifest.table.assign(split=split).groupby("group")["split"].nunique().max() == 1


def test_abide_index_takes_the_age_of_the_follow_up(planted: tuple[Path, Planted, Manifest]) -> None:
    _, _, manifest = planted
    rows = manifest.table[manifest.table["group"].duplicated(keep=False)].sort_values("age")
    gained = rows.groupby("group")["age"].agg(lambda ages: ages.iloc[-1] - ages.iloc[0])
    assert gained.tolist() == pytest.approx([2, 2])


def test_abide_index_of_one_release(planted: tuple[Path, Planted, Manifest]) -> None:
    root, truth, _ = planted
    one = ABIDE(root / "ABIDE").index(root / "ABIDE").table
    assert len(one) == sum(not str(scan["site"]).startswith("ABIDEII") for scan in truth.scans)
