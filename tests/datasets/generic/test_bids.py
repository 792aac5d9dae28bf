import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from braindino.datasets.generic.bids import BIDS
from braindino.datasets.generic.bids_tables import People
from braindino.datasets.generic.cohort import Cohort
from braindino.datasets.generic.folder import Folder
from braindino.datasets.manifest import Manifest
from braindino.errors import TableError


def scan(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2000))


def subject(root: Path, label: str, *sessions: str) -> None:
    for session in sessions or ("",):
        folder = root / f"sub-{label}" / (f"ses-{session}" if session else "") / "anat"
        scan(folder / f"sub-{label}{f'_ses-{session}' if session else ''}_T1w.nii.gz")


def index(root: Path, **options: Any) -> pd.DataFrame:
    table = BIDS(root, **options).index(root).table
    return table.set_index([table["subject"], table["session"]])


def participants(root: Path, text: str, sidecar: dict[str, Any] | None = None) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "participants.tsv").write_text(text.replace(",", "\t"), encoding="utf-8")
    if sidecar is not None:
        (root / "participants.json").write_text(json.dumps(sidecar), encoding="utf-8")


def test_bids_index_takes_sequences_from_suffix_and_entities(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    names = [
        "sub-01_T1w",
        "sub-02_ce-gadolinium_T1w",
        "sub-03_part-phase_T1w",
        "sub-04_part-mag_T1w",
        "sub-05_rec-norm_T1w",
        "sub-06_inv-1_T1w",
        "sub-07_echo-1_T1w",
        "sub-08_mod-T1w_defacemask",
        "sub-09_T1map",
        "sub-10_UNIT1",
        "sub-11_acq-scout_T1w",
        "sub-12_ce-gadolinium_FLAIR",
        "sub-13_run-2_T2w",
        "sub-14_inv-1_MP2RAGE",
    ]
    scan(*(root / name.partition("_")[0] / "anat" / f"{name}.nii.gz" for name in names))
    manifest = BIDS(root).index(root)
    assert dict(zip(manifest.table["subject"], manifest.table["modality"], strict=True)) == {
        "01": "T1w",
        "02": "T1c",
        "04": "T1w",
        "05": "T1w",
        "07": "T1w",
        "12": "FLAIRc",
        "13": "T2w",
    }
    row = manifest.table.set_index("subject")
    assert list(row.loc["02", ["ce", "rec", "echo", "run"]]) == ["gadolinium", "", "", ""]
    assert row.loc["07", "echo"] == "1"
    assert dict(zip(manifest.dropped["subject"], manifest.dropped["reason"], strict=True)) == {
        "03": "the phase of the signal, not its magnitude",
        "06": "inversion image (inv-1), not a whole T1w",
        "08": "mask or segmentation, by its name",
        "09": "suffix T1map is not wanted",
        "10": "suffix UNIT1 is not wanted",
        "11": "localizer or scout, by its name",
        "14": "suffix MP2RAGE is not wanted",
    }
    assert set(BIDS(root, suffixes=("UNIT1",)).index(root).table["modality"]) == {"UNIT1"}


IGNORED = """# as .gitignore
sub-03/
**/*_T2w.nii.gz
!sub-01/anat/sub-01_T2w.nii.gz
"""


@pytest.mark.parametrize("reader", [BIDS, Folder])
def test_bids_index_excludes_sourcedata_code_and_bidsignore(
    tmp_path: Path, reader: type[BIDS] | type[Folder]
) -> None:
    root = tmp_path / "ds"
    for label in ("01", "02", "03"):
        for top in (
            root,
            root / "sourcedata",
            root / "sourcedata" / "raw",
            root / "derivatives" / "x",
            root / "code",
        ):
            scan(top / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz")
        scan(root / f"sub-{label}" / "anat" / f"sub-{label}_T2w.nii.gz")
    scan(root / "stimuli" / "sub-04_T1w.nii.gz", root / "sourcedata" / "scanner" / "p1.nii.gz")
    (root / ".bidsignore").write_text(IGNORED)
    manifest = reader(root).index(root)
    assert set(manifest.table["group"]) == {"ds:01", "ds:02"}
    assert len(manifest.table) == 3
    reasons = manifest.dropped["reason"].value_counts().to_dict()
    assert reasons == {
        "sourcedata: originals, of which the dataset has its own copy": 7,
        "derivative": 2,
        "code: code of the dataset, not scans": 3,
        "stimuli: stimuli of the dataset, not scans": 1,
        "named in .bidsignore": 4,
    }
    # The folder sourcedata is indexed if it is named itself.
    assert len(reader(root / "sourcedata" / "raw").index(root / "sourcedata" / "raw").table) == 3


def test_bids_index_takes_folders_of_the_same_names_outside_a_dataset(tmp_path: Path) -> None:
    scan(tmp_path / "p1" / "code" / "t1.nii", tmp_path / "docs" / "t1.nii")
    assert len(Folder(tmp_path).index(tmp_path).table) == 2


def test_bids_index_makes_one_dataset_of_rawbids_and_derivatives(tmp_path: Path) -> None:
    root = tmp_path / "study"
    subject(root / "rawbids", "01")
    subject(root / "derivatives" / "prep", "01")
    participants(root / "rawbids", "participant_id,age\nsub-01,30\n")
    table = BIDS(root, derivatives=True).index(root).table
    assert set(table["group"]) == {"study:01"}
    assert table["age"].notna().sum() == 1  # the derivative lies beside the dataset, not in it
    nested = tmp_path / "nested"
    subject(nested, "01")
    subject(nested / "derivatives" / "prep", "01")
    participants(nested, "participant_id,age\nsub-01,30\n")
    assert BIDS(nested, derivatives=True).index(nested).table["age"].tolist() == [30, 30]


def test_bids_index_takes_ages_of_the_session(tmp_path: Path) -> None:
    for label in ("01", "02", "03"):
        subject(tmp_path, label, "01", "02")
    subject(tmp_path, "04", "mri", "pet")
    subject(tmp_path, "05", "2")
    participants(
        tmp_path,
        "participant_id,age,sex\n" + "".join(f"sub-0{i},30,{'M' if i % 2 else 'F'}\n" for i in range(1, 6)),
    )
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tage\tMMSE\nses-01\t30\t29\nses-02\t40Y\tn/a\n"
    )
    (tmp_path / "sub-02" / "sub-02_sessions.tsv").write_text(
        "session_id\tacq_time\nses-01\t1867-06-01T12:00:00\nses-02\t1869-06-01T12:00:00.000000Z\n"
    )
    rows = index(tmp_path)
    assert rows.loc[("01", "02"), "age"] == 40
    assert rows["MMSE"].loc["01"].tolist() == ["29", ""]
    assert rows["age"].loc["02"].tolist() == [30, 32]
    assert rows.loc[("03", "01"), "age"] == 30
    assert pd.isna(rows["age"][("03", "02")])
    assert "that of the first session only" in rows["blank_because"][("03", "02")]
    assert rows["age"].loc["04"].isna().all()
    assert rows["blank_because"][("04", "pet")].endswith("it is not known which session is the first")
    assert rows.loc[("05", "2"), "age"] == 30
    assert index(tmp_path, same_age=True)["age"].tolist() == [30, 40, 30, 30, 30, 30, 30, 30, 30]


def test_bids_index_reads_participants_with_a_row_per_session(tmp_path: Path) -> None:
    subject(tmp_path, "01", "1", "2", "3")
    participants(tmp_path, "participant_id,session_id,age\nsub-01,ses-1,30\nsub-01,ses-2,35\n")
    rows = index(tmp_path)
    assert rows["age"].fillna(-1).tolist() == [30, 35, -1]
    assert rows["blank_because"].tolist() == ["", "", "no row of ses-3 in participants.tsv"]


def test_bids_index_leaves_contradicting_rows_blank_with_a_reason(tmp_path: Path) -> None:
    subject(tmp_path, "01")
    subject(tmp_path, "02")
    participants(tmp_path, "participant_id,age,sex\nsub-01,30,M\nsub-01,40,M\n")
    rows = index(tmp_path)
    assert rows["sex"].tolist() == ["M", ""]
    assert rows["age"].isna().all()
    assert rows["blank_because"].tolist() == [
        "2 rows of participants.tsv differ in age",
        "no row of sub-02 in participants.tsv",
    ]


@pytest.mark.parametrize(
    ("header", "units", "cells", "years"),
    [
        ("age", "months", ["18", "24"], [1.5, 2]),
        ("age", "weeks", ["52.1786", "n/a"], [1, None]),
        ("age", "year", ["18", "2Y"], [18, 2]),
        ("age", None, ["18M", "24"], [1.5, 24]),
        ("age_months", None, ["18", "24"], [1.5, 2]),
        ("Age (days)", None, ["365.25", "0"], [1, 0]),
        ("age", "gestational weeks", ["38", "40"], [None, None]),
        ("age", None, ["89+", "45,5"], [None, 45.5]),
    ],
)
def test_people_reads_ages_by_their_units(
    tmp_path: Path, header: str, units: str | None, cells: list[str], years: list[float | None]
) -> None:
    lines = [f"sub-0{i}\t{cell}\n" for i, cell in enumerate(cells, start=1)]
    for label in ("01", "02"):
        subject(tmp_path, label)
    (tmp_path / "participants.tsv").write_text(f"participant_id\t{header}\n" + "".join(lines))
    sidecar = {} if units is None else {header.upper(): {"Units": units}}
    (tmp_path / "participants.json").write_text(json.dumps(sidecar))
    table = BIDS(tmp_path).index(tmp_path).table
    assert [None if pd.isna(age) else pytest.approx(age, rel=1e-5) for age in table["age"]] == years
    for age, cell in zip(table["age"], cells, strict=True):
        if pd.isna(age) and cell != "n/a":
            assert f"age {cell!r}" in "".join(table["blank_because"])


@pytest.mark.parametrize(
    ("column", "sexes"),
    [
        ({"Levels": {"0": "male", "1": "female"}}, ["M", "F", ""]),
        ({"Levels": {"0": {"Description": "Female"}, "1": {"Description": "Male"}}}, ["F", "M", ""]),
        ({"Levels": {"female": 0, "male": 1}}, ["F", "M", ""]),
        ({"Levels": {"1": "male", "2": "female"}}, ["", "M", "F"]),
        ({"Description": "0 = male, 1 = female"}, ["M", "F", ""]),
        ({"Description": "sex of the participant (male: 1; female: 0)"}, ["F", "M", ""]),
        ({"Levels": {"0": "no", "1": "yes"}}, ["", "", ""]),
        (None, ["", "", ""]),
    ],
)
def test_people_reads_sexes_by_their_levels(
    tmp_path: Path, column: dict[str, Any] | None, sexes: list[str]
) -> None:
    for label in ("01", "02", "03"):
        subject(tmp_path, label)
    participants(tmp_path, "participant_id,Sex\nsub-01,0\nsub-02,1\nsub-03,2\n", column and {"sex": column})
    table = BIDS(tmp_path).index(tmp_path).table
    assert table["sex"].tolist() == sexes
    for cell, sex, reason in zip("012", sexes, table["blank_because"], strict=True):
        assert sex or f"sex {cell!r}" in reason


def test_cohort_takes_columns_of_participants_as_labels(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    for label in ("01", "02", "NA"):
        subject(root, label)
    participants(
        root,
        "participant_id,group,site,score,diagnosis\nsub-01,patient,A,1.5,none\nsub-02,control,B,n/a,low\nNA,control,B,3,NA\n",
    )
    BIDS(root).index(root).write(tmp_path / "m.csv")
    table = Manifest.read(tmp_path / "m.csv").table
    assert table["group"].tolist() == ["ds:01", "ds:02", "ds:NA"]
    assert table["group_in_table"].tolist() == ["patient", "control", "control"]
    assert table["site"].tolist() == ["A", "B", "B"]
    assert table["score"].fillna(-1).tolist() == [1.5, -1, 3]
    assert table["diagnosis"].tolist() == ["none", "low", "NA"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("participants.json", "{", r"participants\.json: is not JSON"),
        ("participants.tsv", "subject\tage\n01\t3\n", r"participants\.tsv: no column 'participant_id'"),
        ("sub-01/sub-01_sessions.tsv", "ses\tage\n1\t3\n", r"sessions\.tsv: no column 'session_id'"),
    ],
)
def test_people_rejects_broken_tables(tmp_path: Path, name: str, content: str, message: str) -> None:
    subject(tmp_path, "01")
    participants(tmp_path, "participant_id,age\nsub-01,30\n")
    (tmp_path / name).write_text(content)
    with pytest.raises(TableError, match=message):
        BIDS(tmp_path).index(tmp_path)


def test_people_reads_tables_of_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsite\nsub-01\t45,5\tKöln\n", encoding="utf-16"
    )
    (tmp_path / "participants.json").write_text('\ufeff{"age": {"Units": "months"}}', encoding="utf-8")
    columns = People(tmp_path).columns("01", "", [""])
    assert float(columns["age"]) == pytest.approx(45.5 / 12)
    assert columns["site"] == "Köln"


def test_people_reads_the_sidecar_of_sessions(tmp_path: Path) -> None:
    subject(tmp_path / "rawdata", "01", "1", "2")
    participants(tmp_path, "participant_id,age,sex,drug\nsub-01,30,M,none\n")
    folder = tmp_path / "rawdata" / "sub-01"
    (folder / "sub-01_sessions.tsv").write_text("session_id\tsession_age\tsex\tdrug\nses-2\t480\t1\tx\n")
    (folder / "sub-01_sessions.json").write_text(
        json.dumps({"session_age": {"Units": "months"}, "sex": {"Levels": {"1": "male"}}})
    )
    rows = index(tmp_path)
    assert rows["age"].tolist() == [30, 40]
    assert rows["sex"].tolist() == ["M", "M"]
    assert rows["drug"].tolist() == ["none", "x"]


def test_cohort_reads_participants_by_their_sidecar(tmp_path: Path) -> None:
    for label in ("01", "02"):
        subject(tmp_path, label)
    sidecar = {"age": {"Units": "months"}, "sex": {"Levels": {"0": "male", "1": "female"}}}
    participants(tmp_path, "participant_id,age,sex,label\nsub-01,18,0,a\nsub-02,24,1,b\n", sidecar)
    options: dict[str, Any] = {"pattern": "{id}/anat/{id}_T1w.nii.gz"}
    table = Cohort(tmp_path / "participants.tsv", **options).manifest.table
    assert table["age"].tolist() == [1.5, 2]
    assert table["sex"].tolist() == ["M", "F"]
    participants(
        tmp_path, "participant_id,age,label\nsub-01,18,a\nsub-02,24,b\n", {"age": {"Units": "parsec"}}
    )
    with pytest.raises(TableError, match=r"participants\.json: ages are in units 'parsec'"):
        _ = Cohort(tmp_path / "participants.tsv", **options).manifest


@pytest.mark.parametrize(
    ("column", "described", "age"),
    [
        ("age", {"units": "months"}, 5.0),
        ("age", {"Description": "Age of the participant in months"}, 5.0),
        ("age", {"Description": "age in years", "Units": "months"}, 5.0),
        ("age", {"Description": "age in years, rounded to months"}, 60.0),
        ("age", {"Description": "gestational age at scan", "Units": "weeks"}, None),
        ("age", {"Description": "in weeks or days"}, None),
        ("scan_age", {}, 60.0),
        ("ageAtScan", {}, 60.0),
        ("baseline_age", {}, 60.0),
        ("interview_age", {}, None),
    ],
)
def test_people_reads_ages_by_the_words_of_header_and_sidecar(
    tmp_path: Path, column: str, described: dict[str, str], age: float | None
) -> None:
    subject(tmp_path, "01")
    participants(tmp_path, f"participant_id,{column}\nsub-01,60\n", {column: described})
    row = index(tmp_path).iloc[0]
    assert row["age"] == age if age is not None else pd.isna(row["age"]) and "age" in row["blank_because"]


@pytest.mark.parametrize(
    ("column", "cells", "described", "sexes"),
    [
        ("sex", ["1", "2"], {"levels": {"1": "female", "2": "male"}}, ["F", "M"]),
        ("sex", ["0", "1"], {"Description": "0=M; 1=F"}, ["M", "F"]),
        ("sex", ["1", "2"], {"Description": "Male (1) or female (2)"}, ["M", "F"]),
        ("Sex (0=male 1=female)", ["0", "1"], {}, ["M", "F"]),
        ("biological_sex", ["F", "M"], {}, ["F", "M"]),
        ("sex", ["H", "F"], {}, ["M", "F"]),
        ("sex", ["H", "M"], {}, ["M", ""]),  # hombre and mujer, or homme and male
        ("sex", ["H", "M"], {"Levels": {"H": "hombre", "M": "mujer"}}, ["M", "F"]),
        ("sex", ["m", "w"], {}, ["M", "F"]),
    ],
)
def test_people_reads_sexes_by_header_sidecar_and_cells(
    tmp_path: Path, column: str, cells: list[str], described: dict[str, Any], sexes: list[str]
) -> None:
    subject(tmp_path, "01")
    subject(tmp_path, "02")
    text = f"participant_id,{column}\nsub-01,{cells[0]}\nsub-02,{cells[1]}\n"
    participants(tmp_path, text, {column: described})
    assert index(tmp_path)["sex"].tolist() == sexes


def test_people_hints_at_rows_of_nearly_the_same_name(tmp_path: Path) -> None:
    subject(tmp_path, "01")
    subject(tmp_path, "AB")
    subject(tmp_path, "02", "01", "02")
    participants(tmp_path, "participant_id,age\n1,50\nsub-ab,60\nsub-02,70\n")
    sessions = tmp_path / "sub-02" / "sub-02_sessions.tsv"
    sessions.write_text("session_id\tage\nses-1\t70\nses-2\t72\n")
    rows = index(tmp_path)
    assert rows["age"].isna().all()
    assert rows.loc[("01", ""), "blank_because"] == "no row of sub-01 (is it '1'?) in participants.tsv"
    assert "is it 'ab'?" in rows["blank_because"][("AB", "")]
    assert "no row of ses-02 (is it '2'?) in the table of sessions" in rows["blank_because"][("02", "02")]


def test_people_uses_a_row_with_a_session_for_scans_without_one(tmp_path: Path) -> None:
    subject(tmp_path, "01")
    subject(tmp_path, "02")
    participants(
        tmp_path, "participant_id,session,age,group\nsub-01,1,50,AD\nsub-02,1,60,CN\nsub-02,2,62,CN\n"
    )
    rows = index(tmp_path)
    assert list(rows.loc[("01", ""), ["age", "group_in_table"]]) == [50.0, "AD"]
    assert rows.loc[("02", ""), "blank_because"] == "no row of a scan without a session in participants.tsv"


def test_people_leaves_differing_rows_of_a_session_blank(tmp_path: Path) -> None:
    subject(tmp_path, "01", "1")
    participants(tmp_path, "participant_id,session_id,age\nsub-01,ses-1,50\nsub-01,ses-1,60\n")
    assert index(tmp_path)["blank_because"].tolist() == ["2 rows of participants.tsv differ in age"]


def test_people_names_a_table_of_participants_in_another_format(tmp_path: Path) -> None:
    subject(tmp_path, "01")
    (tmp_path / "participants.csv").write_text("participant_id,age\nsub-01,50\n")
    assert index(tmp_path)["blank_because"].tolist() == [
        "participants.csv is not read; BIDS has participants.tsv"
    ]
