import json
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from braindino.datasets.generic.bids import BIDS
from braindino.datasets.generic.cohort import Cohort
from braindino.datasets.generic.folder import Folder
from braindino.datasets.generic.visits import split_visit, visits_of_one_person, without_sequence
from braindino.errors import TableError


def scan(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(2000))


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("p1_baseline", "p1"),
        ("p1-followup2", "p1"),
        ("002_S_0295_m12", "002_S_0295"),
        ("OAS1_0001_MR2", "OAS1_0001"),
        ("OAS30001_MR_d0757", "OAS30001"),
        ("p1_20200131", "p1"),
        ("p1_2020-01-31", "p1"),
        ("sub-01_ses-1", "sub-01"),
        ("p1_tp2", "p1"),
        ("p1_v2", "p1"),
        ("UCSF-PDGM-0541_FU003d", "UCSF-PDGM-0541"),
        ("p1_visit-2b1", "p1"),
        ("HC_wave1_0001", "HC_wave1_0001"),
        ("HC_day1_02", "HC_day1_02"),
        ("p1_1", "p1_1"),
        ("male_m07", "male_m07"),
        ("p1_20209999", "p1_20209999"),
        ("baseline", "baseline"),
    ],
)
def test_split_visit_returns_name_and_visit(name: str, person: str) -> None:
    assert split_visit(name)[0] == person


def test_visits_of_one_person_takes_a_first_visit_without_a_word() -> None:
    assert visits_of_one_person(["p1", "p1_followup", "p2_followup"]) == {"p1": ["p1", "p1_followup"]}


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("p1_T1", "p1"),
        ("p1_FLAIR_brain", "p1"),
        ("IXI002-Guys-0828-T2", "IXI002-Guys-0828"),
        ("T1_gd_p1", "p1"),
        ("T1", "T1"),
        ("PD_001_T1", "PD_001"),
        ("subject1_pre_T1", "subject1_pre"),
    ],
)
def test_without_sequence_returns_the_rest_of_a_name(name: str, person: str) -> None:
    assert without_sequence(name) == person


@pytest.mark.parametrize(
    "names",
    [
        ["p1_T1.nii", "p1_FLAIR.nii"],
        ["p1_baseline_T1.nii", "p1_followup_T1.nii"],
        ["p1_bl/T1.nii", "p1_m12/T1.nii"],
        ["OAS1_0001_MR1/a_mpr-1.nii", "OAS1_0001_MR2/a_mpr-1.nii"],
        ["pre/p1/T1.nii", "post/p1/T1.nii"],
        ["20200101/p1/T1.nii", "20210101/p1/T1.nii"],
        ["p1/2020-01-01/T1.nii", "p1/2021-01-01/T1.nii"],
        ["MPRAGE/p1/a.nii", "FLAIR/p1/b.nii"],
        ["BraTS-GLI-00001-000-t1n.nii", "BraTS-GLI-00001-001/BraTS-GLI-00001-001-t1n.nii"],
        [f"{unicodedata.normalize(form, 'Jürgen')}/T1{form}.nii" for form in ("NFC", "NFD")],
    ],
)
def test_folder_makes_one_person_of_visits_and_sequences(names: list[str], tmp_path: Path) -> None:
    other = [name.replace("p1", "p2").replace("0001", "0002").replace("J", "K") for name in names]
    scan(tmp_path, *names, *other)
    table = Folder(tmp_path).index(tmp_path).table
    assert table["group"].value_counts().tolist() == [2, 2]


def test_folder_never_splits_the_label_of_a_bids_subject(tmp_path: Path) -> None:
    scan(tmp_path, *(f"{site}/sub-v{i}/anat/sub-v{i}_T1w.nii.gz" for site in ("a", "b") for i in (1, 2)))
    assert sorted(Folder(tmp_path).index(tmp_path).table["subject"]) == ["a_v1", "a_v2", "b_v1", "b_v2"]


def test_folder_finds_the_person_below_a_pipeline(tmp_path: Path) -> None:
    scan(
        tmp_path,
        *(f"{place}p{i}/T1.nii" for place in ("", "derivatives/hdbet/", "fmriprep/") for i in (1, 2)),
    )
    table = Folder(tmp_path, derivatives=True).index(tmp_path).table
    assert table["subject"].value_counts().to_dict() == {"p1": 3, "p2": 3}


def test_folder_warns_where_a_person_may_be_a_site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scan(tmp_path, *(f"p{i}/{name}/x.nii" for i in (1, 2) for name in ("first", "second")))
    Folder(tmp_path).index(tmp_path)
    assert not caplog.messages
    scan(tmp_path, "disc1/OAS1_0001_MR1/x.nii", "disc1/OAS1_0002_MR1/x.nii", "disc2/OAS1_0042_MR1/x.nii")
    Folder(tmp_path).index(tmp_path)
    assert "the folder disc1 counts as one person" in caplog.text


def test_folder_takes_dates_as_people_where_nothing_else_is(tmp_path: Path) -> None:
    scan(tmp_path, "20200101/T1.nii", "20210101/T1.nii")
    assert Folder(tmp_path).index(tmp_path).table["subject"].nunique() == 2


@pytest.mark.parametrize("reader", [BIDS, Folder])
def test_folder_adds_no_people_of_derivative_datasets(
    reader: type[BIDS] | type[Folder], tmp_path: Path
) -> None:
    scan(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "fmriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
        "mine/sub-01/anat/sub-01_desc-mine_T1w.nii.gz",
        "older/sub-01/anat/sub-01_desc-older_T1w.nii.gz",
    )
    (tmp_path / "mine" / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    (tmp_path / "older" / "dataset_description.json").write_text('{"PipelineDescription": {"Name": "x"}}')
    manifest = reader(tmp_path).index(tmp_path)
    assert len(manifest.table) == 1
    assert manifest.dropped["reason"].tolist() == ["derivative"] * 3
    manifest = reader(tmp_path, derivatives=True).index(tmp_path)
    assert len(manifest.table) == 4
    assert len(set(manifest.table["group"])) == 1
    assert len(reader(tmp_path / "mine").index(tmp_path / "mine").table) == 1


def test_bids_drops_scans_in_folders_of_another_person_or_session(tmp_path: Path) -> None:
    scan(
        tmp_path,
        "sub-01/anat/sub-02_T1w.nii.gz",
        "sub-03/ses-1/anat/sub-03_ses-2_T1w.nii.gz",
        "sub-04/ses-1/anat/sub-04_T1w.nii.gz",
    )
    manifest = BIDS(tmp_path).index(tmp_path)
    assert manifest.table["subject"].tolist() == ["04"]
    assert sorted(manifest.dropped["reason"]) == [
        "lies in ses-1 and is named ses-2", "lies in sub-01 and is named sub-02",
    ]  # fmt: skip


def test_folder_takes_no_templates_and_masks_without_their_word(tmp_path: Path) -> None:
    scan(
        tmp_path, "p1/mri/T1.mgz", "p1/mri/ribbon.mgz", "fsaverage/mri/T1.mgz", "p1/p1_tumor.nii", "p1/gt.nii"
    )
    scan(tmp_path, "tumor_01/T1.nii", "p2/tumor01_T1.nii")
    assert set(Folder(tmp_path).index(tmp_path).table["subject"]) == {"p1", "tumor_01", "p2"}
    assert len(Folder(tmp_path).index(tmp_path).table) == 3


def cohort(root: Path, ids: list[str], **options: Any) -> pd.DataFrame:
    scan(root, *(f"s{i}.nii" for i in range(len(ids))))
    lines = [f"{name},s{i}.nii,{i % 2}" for i, name in enumerate(ids)]
    (root / "t.csv").write_text("\n".join(["id,path,label", *lines]) + "\n")
    return Cohort(root / "t.csv", **options).manifest.table


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["101.0", "7", "101"], "'101' looks like '101.0' in line 2: spellings of one person"),
        (["S1", "s1"], "spellings"),
        (["sub-01", "01"], "spellings"),
        (["P-01", "P_01"], "spellings"),
        (["p1_baseline", "p1_followup"], "visits of one person"),
        (["002_S_0295_bl", "002_S_0295_m12"], "visits"),
        (["sub-01_ses-1", "sub-01_ses-2"], "visits"),
        (["sub-01_run-1", "sub-01_run-2"], "visits"),
    ],
)
def test_cohort_rejects_ids_that_may_be_one_person(ids: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=message) as raised:
        cohort(tmp_path, ids)
    assert "`group: id` means that they are different people" in str(raised.value)
    assert cohort(tmp_path, ids, group="id")["group"].nunique() == len(ids)


def test_index_nnunet_groups_visits_and_lists_other_endings(tmp_path: Path) -> None:
    scan(
        tmp_path,
        *(f"imagesTr/p1_tp{i}_000{c}.nii.gz" for i in (1, 2) for c in (0, 1)),
        "imagesTr/p2_0000.nii",
    )
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MRI", "1": "MRI"}}))
    manifest = Cohort(tmp_path, dataset="d").index(tmp_path)
    assert set(manifest.table["group"]) == {"d:p1"}
    assert set(manifest.table["modality"]) == {"MRI_0", "MRI_1"}
    assert manifest.dropped["reason"].tolist() == ["does not end in .nii.gz, as dataset.json has it"]


def test_cohort_rejects_one_id_at_two_sites_in_one_session(tmp_path: Path) -> None:
    scan(tmp_path, "a_T1.nii", "b_T2.nii", "c_T1.nii")
    csv = tmp_path / "t.csv"
    csv.write_text("id,site,session,path,label\n1,A,1,a_T1.nii,0\n1,B,1,b_T2.nii,1\n2,A,1,c_T1.nii,1\n")
    with pytest.raises(TableError, match="line 3: the id '1' is of site 'B' here and of 'A' in line 2"):
        _ = Cohort(csv).manifest
    assert Cohort(csv, group=["site", "id"]).manifest.table["group"].nunique() == 3
    assert Cohort(csv, group="id").manifest.table["group"].nunique() == 2
    csv.write_text(csv.read_text().replace("1,B,1", "1,B,2"))
    assert Cohort(csv).manifest.table["group"].nunique() == 2


def test_cohort_warns_of_ids_that_may_be_numbered_visits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cohort(tmp_path, ["p1_1", "p1_2", "p2_1", "p2_2"])
    assert "ids such as p1_1 and p1_2 count as different people" in caplog.text
    caplog.clear()
    cohort(tmp_path, ["patient_1", "patient_2", "patient_3"])
    assert caplog.text == ""


@pytest.mark.parametrize("pair", [("01", "1"), ("1e0", "1"), ("a–b", "a-b")])  # noqa: RUF001
def test_cohort_rejects_classes_in_two_spellings(pair: tuple[str, str], tmp_path: Path) -> None:
    scan(tmp_path, *(f"s{i}.nii" for i in range(3)))
    rows = [f"p{i},s{i}.nii,{label}" for i, label in enumerate((*pair, "other"))]
    (tmp_path / "t.csv").write_text("\n".join(["id,path,label", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(TableError, match="look like one class"):
        _ = Cohort(tmp_path / "t.csv").manifest


def test_cohort_takes_errors_of_excel_as_missing(tmp_path: Path) -> None:
    scan(tmp_path, *(f"s{i}.nii" for i in range(4)))
    (tmp_path / "t.csv").write_text(
        "id,path,label\na,s0.nii,0\nb,s1.nii,#N/A\nc,s2.nii,1\nd,s3.nii,#VALUE!\n"
    )
    manifest = Cohort(tmp_path / "t.csv").manifest
    assert manifest.table["label"].astype(str).tolist() == ["0", "1"]
    assert manifest.dropped["reason"].tolist() == ["no label in the table"] * 2
