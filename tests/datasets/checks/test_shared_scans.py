"""People are matched by their scans: tables with different names and ids, and with equal ones."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.datasets import SliceDataModule
from braindino.datasets.checks.leakage import audit, contents_of
from braindino.datasets.generic.bids import BIDS
from braindino.datasets.generic.cohort import Cohort
from braindino.datasets.generic.folder import Folder
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen
from braindino.scans.store import origins
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store
from braindino.training.people import record_seen, trained_on

CONTRACT = Preprocessing(depth=4, size=(8, 8))
PEOPLE = 12


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a different scan of each person, `0.nii`, ..."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(PEOPLE):
        values = np.random.default_rng(number).uniform(50, 200, (8, 8, 8)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"{number}.nii")
    return folder


def cohort(folder: Path, name: str, scans: Path, numbers: list[int], prefix: str, how: str) -> Cohort:
    """Write a table of some people with new ids and file names, as copies or recompressed."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["id,path,label"]
    for number in numbers:
        file = f"{prefix}{number}_scan.nii{'.gz' if how == 'gzip' else ''}"
        if how == "gzip":
            with gzip.open(folder / file, "wb") as packed:
                packed.write((scans / f"{number}.nii").read_bytes())
        else:
            shutil.copy(scans / f"{number}.nii", folder / file)
        lines.append(f"{prefix}{number},{file},{number % 2}")
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    data = Cohort(folder / f"{name}.csv", folder / "store", fractions=(0.4, 0.2, 0.4), prepare=True)
    data.use_contract(CONTRACT)
    data.prepare_data()
    data.setup()
    return data


def pretrained(folder: Path, manifest: pd.DataFrame, **options: Any) -> SliceDataModule:
    store = Store.create(folder / "pretraining", CONTRACT)
    fill(store, manifest, progress=False)
    data = SliceDataModule(store.path, batch_size=2, num_workers=0, **options)
    data.setup()
    return data


@pytest.mark.parametrize("how", ["copy", "gzip"])
def test_overlap_finds_people_under_other_names_by_their_scans(scans: Path, tmp_path: Path, how: str) -> None:
    pre = cohort(tmp_path / "a", "pre", scans, list(range(PEOPLE)), "P", "copy")
    outcome = cohort(tmp_path / "b", "outcome", scans, list(range(4, PEOPLE)), "x", how)
    seen = pretrained(tmp_path, pre.manifest.table).trained_on()
    assert not set(outcome.cases["group"]) & seen.people
    report = audit(outcome.cases, ("scan",), seen, contents_of(outcome.cases, ("scan",), outcome.store))[
        "pretraining"
    ]
    tested = int((outcome.cases["split"] == "test").sum())
    assert (report["people"], report["test"], report["scans"]) == (PEOPLE - 4, tested, PEOPLE - 4)
    assert (report["by_name_only"], report["gaps"]) == (0, [])


def test_overlap_counts_people_with_equal_names_and_other_scans(scans: Path, tmp_path: Path) -> None:
    one = cohort(tmp_path / "siteA", "patients", scans, list(range(6)), "", "copy")
    two = cohort(tmp_path / "siteB", "patients", scans, list(range(6, PEOPLE)), "", "copy")
    table = two.cases.assign(group=[f"patients:{i}" for i in range(6)])
    seen = pretrained(tmp_path, one.manifest.table).trained_on()
    report = audit(table, ("scan",), seen, contents_of(table, ("scan",), two.store))["pretraining"]
    assert (report["people"], report["by_name_only"], report["scans"]) == (6, 6, 0)


def test_exclude_by_cases_of_a_probe_manifest_paths_and_lists(scans: Path, tmp_path: Path) -> None:
    pre = cohort(tmp_path / "a", "pre", scans, list(range(PEOPLE)), "P", "copy")
    outcome = cohort(tmp_path / "b", "outcome", scans, list(range(4, PEOPLE)), "x", "copy")
    contents = contents_of(outcome.cases, ("scan",), outcome.store)
    digests = [" ".join(contents[key]) for key in outcome.cases["key_scan"]]
    cases = outcome.cases[["case", "group", "split"]].assign(scans=digests)
    cases.to_csv(tmp_path / "cases.csv", index=False)
    outcome.manifest.write(tmp_path / "manifest.csv")
    (tmp_path / "paths.txt").write_text("\n".join(outcome.manifest.table["path"]))
    train = cases.loc[cases["split"] == "train", "case"].str.removeprefix("outcome:x")
    expected = {
        "cases.csv": {f"pre:P{i}" for i in [*range(4), *train]},
        "manifest.csv": {f"pre:P{i}" for i in range(4)},
        "paths.txt": {f"pre:P{i}" for i in range(4)},
        "b/outcome.csv": {f"pre:P{i}" for i in range(4)},  # a table of the user, by its paths
    }
    for name, people in expected.items():
        data = pretrained(tmp_path, pre.manifest.table, exclude=tmp_path / name)
        assert set(data.scans["group"]) == people, name
        assert data.trained_on().people == people


def test_exclude_finds_a_person_under_every_name_in_the_store(scans: Path, tmp_path: Path) -> None:
    one = cohort(tmp_path / "a", "one", scans, [0, 1, 2, 3, 4, 5], "P", "copy")
    two = cohort(tmp_path / "b", "two", scans, [0, 1, 6, 7, 8, 9], "Q", "copy")
    both = pd.concat([one.manifest.table, two.manifest.table], ignore_index=True)
    for name in ("one:P0", "two:Q0"):
        (tmp_path / "out.txt").write_text(f"{name}\n")
        data = pretrained(tmp_path, both, exclude=tmp_path / "out.txt")
        assert len(data.scans) == 9
        assert not {"one:P0", "two:Q0"} & data.trained_on().people
    everybody = pretrained(tmp_path, both).trained_on()
    assert everybody.people == {*one.cases["group"], *two.cases["group"]}


def test_exclude_list_that_matches_nobody_is_refused(scans: Path, tmp_path: Path) -> None:
    pre = cohort(tmp_path / "a", "pre", scans, list(range(6)), "P", "copy")
    (tmp_path / "out.csv").write_text("case,group,split\no:1,outcome:1,test\n")
    with pytest.raises(BraindinoError) as caught:
        pretrained(tmp_path, pre.manifest.table, exclude=tmp_path / "out.csv")
    assert "out.csv: none of its 1 entries is a person or a scan of" in str(caught.value)
    assert "'outcome:1'" in str(caught.value)
    assert "'pre:P0'" in str(caught.value)
    assert "remove data.exclude" in str(caught.value)


def test_exclude_prints_entries_without_a_match(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pre = cohort(tmp_path / "a", "pre", scans, list(range(6)), "P", "copy")
    (tmp_path / "out.txt").write_text("pre:P1\npre:P9\n")
    pretrained(tmp_path, pre.manifest.table, exclude=tmp_path / "out.txt")
    output = capsys.readouterr().out
    assert "excludes 1 scans of 1 people; 1 of 2 entries match no scan, the first is 'pre:P9'" in output


def test_exclude_takes_the_folder_of_an_encoder(scans: Path, tmp_path: Path) -> None:
    pre = cohort(tmp_path / "a", "pre", scans, list(range(6)), "P", "copy")
    (tmp_path / "encoder").mkdir()
    lines = Seen(frozenset({"pre:P1", "other:1"})).digested("0" * 16).lines()
    (tmp_path / "encoder" / "pretraining_people.txt").write_text("\n".join(lines))
    data = pretrained(tmp_path, pre.manifest.table, exclude=tmp_path / "encoder")
    assert "pre:P1" not in set(data.scans["group"])
    assert len(data.scans) == 5
    with pytest.raises(BraindinoError, match=r"is a folder without cases\.csv or pretraining_people\.txt"):
        pretrained(tmp_path, pre.manifest.table, exclude=tmp_path / "a")


def test_content_that_the_store_does_not_record_is_a_gap(scans: Path, tmp_path: Path) -> None:
    pre = cohort(tmp_path / "a", "pre", scans, list(range(6)), "P", "copy")
    data = pretrained(tmp_path, pre.manifest.table)
    keys = list(data.scans["key"])
    for record in data.store.records.values():  # as an earlier version wrote the ledger
        record.pop("sha256")
        record.pop("slices_digest")
    assert len(data.store.digests(keys)[keys[0]]) == 2  # from the sidecar
    data.store.layout.sidecar(keys[0]).unlink()
    assert data.trained_on().gaps == ("the content of 1 scans is not recorded in the store",)


class Run:
    """The attributes of a trainer that `record_seen` reads."""

    def __init__(self, datamodule: Any) -> None:
        self.datamodule = datamodule


def test_data_without_people_is_a_gap() -> None:
    class Data:
        def people(self) -> pd.DataFrame:
            return pd.DataFrame({"group": ["a:1"]})

    assert trained_on(Run(None)).gaps == ("the people and scans of a data loader are not recorded",)
    assert trained_on(Run(Data())) == Seen(frozenset({"a:1"}), gaps=("the scans of Data are not recorded",))
    checkpoint: dict[str, Any] = {"pretraining_people": ["b:1"]}  # of a callback
    record_seen(checkpoint, Run(Data()), Seen(frozenset({"c:1"})), None)
    assert checkpoint["pretraining_people"] == ["a:1", "b:1", "c:1"]


# -------------------------------------------------------------------------- two tables or folders of a name


def two_sites(folder: Path, scans: Path, **options: Any) -> list[pd.DataFrame]:
    """Manifests, written and read, of `siteA/patients.csv` and `siteB/patients.csv`: ids 0 to 4 in both."""
    tables = []
    for site, first in (("siteA", 0), ("siteB", 5)):
        lines = ["id,path,label", *(f"{i},{scans / f'{first + i}.nii'},{i % 2}" for i in range(5))]
        (folder / site).mkdir(exist_ok=True)
        (folder / site / "patients.csv").write_text("\n".join(lines) + "\n")
        given = {name: value.format(site=site) for name, value in options.items()}
        Cohort(folder / site / "patients.csv", **given).manifest.write(folder / f"{site}.csv")
        tables.append(Manifest.read(folder / f"{site}.csv").table)
    return tables


def test_two_tables_of_one_name_are_not_merged(scans: Path, tmp_path: Path) -> None:
    one, two = two_sites(tmp_path, scans)
    assert one["indexed_from"].tolist() == [str(tmp_path / "siteA" / "patients.csv")] * 5
    store = Store.create(tmp_path / "s", CONTRACT)
    fill(store, one, progress=False)
    fill(store, one, progress=False)  # the same table again
    message = r"siteA/patients\.csv both count as the dataset 'patients'.*5 people .*'patients:0'"
    with pytest.raises(BraindinoError, match=f"(?s){message}") as caught:
        fill(store, two, progress=False)
    assert "--options.dataset NAME" in str(caught.value)
    assert len(store.index()) == 5
    with pytest.raises(BraindinoError, match="both count as the dataset"):
        fill(Store.create(tmp_path / "t", CONTRACT), pd.concat([one, two]), progress=False)
    # a table that was moved is the same table
    shutil.copytree(tmp_path / "siteA", tmp_path / "moved")
    again = Cohort(tmp_path / "moved" / "patients.csv").manifest.table
    shutil.rmtree(tmp_path / "siteA")
    origins._real.cache_clear()
    fill(store, again, progress=False)


@pytest.mark.parametrize(("name", "people"), [("{site}", 10), ("patients", 5)])
def test_dataset_option_says_whether_people_are_the_same(
    scans: Path, tmp_path: Path, name: str, people: int
) -> None:
    one, two = two_sites(tmp_path, scans, dataset=name)
    assert "indexed_from" not in one
    store = Store.create(tmp_path / "s", CONTRACT)
    fill(store, one, progress=False)
    fill(store, two, progress=False)
    assert store.index()["group"].nunique() == people


@pytest.mark.parametrize("reader", [BIDS, Folder])
def test_two_folders_of_one_name_are_not_merged(
    scans: Path, tmp_path: Path, reader: type[BIDS] | type[Folder]
) -> None:
    for site, first in (("siteA", 0), ("siteB", 5)):
        for i in range(3):
            anat = tmp_path / site / "study" / f"sub-0{i}" / "anat"
            anat.mkdir(parents=True)
            shutil.copy(scans / f"{first + i}.nii", anat / f"sub-0{i}_T1w.nii")
    store = Store.create(tmp_path / "s", CONTRACT)
    fill(store, reader(tmp_path / "siteA" / "study").manifest.table, progress=False)
    with pytest.raises(BraindinoError, match="both count as the dataset 'study'"):
        fill(store, reader(tmp_path / "siteB" / "study").manifest.table, progress=False)
    fill(store, reader(tmp_path / "siteB" / "study", dataset="B").manifest.table, progress=False)
    assert store.index()["group"].nunique() == 6
