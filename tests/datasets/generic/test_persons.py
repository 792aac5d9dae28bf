"""One person never becomes two, nor two one, whatever the columns of a table are called."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from braindino.datasets.cases import case_table
from braindino.datasets.generic.bids import BIDS
from braindino.datasets.generic.cohort import Cohort
from braindino.datasets.generic.folder import Folder
from braindino.datasets.generic.persons import joined
from braindino.datasets.manifest import Manifest, ManifestBuilder, label_column
from braindino.datasets.public.brats_folds import BraTSFolds
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.store.store import Store

SESSIONS = 2


def scans(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(2000))


def table(root: Path, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "t.csv").write_text(text)
    return root / "t.csv"


def people(manifest: Manifest) -> dict[str, set[str]]:
    """Person -> names of the files."""
    groups = manifest.table.groupby("group")["path"]
    return {str(group): {Path(path).name for path in paths} for group, paths in groups}


def test_cohort_takes_the_column_group_as_person_only_by_option(tmp_path: Path) -> None:
    scans(tmp_path, "a.nii", "b.nii", "c.nii", "d.nii")
    csv = table(tmp_path, "id,group,path\ns1,depr,a.nii\ns2,control,b.nii\ns3,depr,c.nii\ns4,control,d.nii\n")
    data = Cohort(csv, target="group")
    assert set(data.manifest.table["group"]) == {"t:s1", "t:s2", "t:s3", "t:s4"}
    assert data.classes == ("control", "depr")
    data.manifest.write(tmp_path / "m.csv")
    again = Cohort(tmp_path / "m.csv", target="group")
    assert set(again.manifest.table["group"]) == {"t:s1", "t:s2", "t:s3", "t:s4"}
    assert (again.target, again.classes) == (("group_in_table",), ("control", "depr"))
    with pytest.raises(BraindinoError, match="no column 'group'"):
        _ = Cohort(csv, target="group", group="group").manifest
    assert len(people(Cohort(csv, group="group").index(csv))) == 2


def test_cohort_takes_the_site_as_label(tmp_path: Path) -> None:
    scans(tmp_path, "a.nii", "b.nii")
    data = Cohort(table(tmp_path, "id,site,path\ns1,A,a.nii\ns2,B,b.nii\n"), target="site")
    assert data.manifest.table["site"].tolist() == ["A", "B"]
    assert data.classes == ("A", "B")


def test_label_column_never_returns_the_person() -> None:
    frame = pd.DataFrame(columns=["group", "Group_in_table", "site"])
    assert label_column(frame, "GROUP") == "Group_in_table"
    assert label_column(frame, "Site") == "site"
    assert label_column(frame[["group"]], "group") == "group"


@pytest.mark.parametrize(
    ("header", "rows", "options", "message"),
    [
        ("id,path,label,fam,sex", ["1,a.nii,x,f,M", "2,b.nii,y,f,F"], {"group": "fam"},
         r"line 3: the person 't:f' has sex 'F' here and 'M' in line 2"),
        ("id,path,label,fam,age", ["1,a.nii,x,f,30", "2,b.nii,y,f,61"], {"group": "fam"},
         r"line 3: the person 't:f' has age 61 here and 30 in line 2.*\n.*`session`"),
        ("id,path,label,subject", ["1,a.nii,x,p", "2,b.nii,y,p"], {},
         r"'id' \(2 different\) and 'subject' \(1 different\) do not agree.*\n.*group: subject"),
        ("scan,path,label,Subject ID", ["1,a.nii,x,p", "2,b.nii,y,p"], {"id": "scan"}, "do not agree"),
        ("id,path,label,dataset,visit", ["1,a.nii,x,ADNI1,1", "1,b.nii,y,ADNI2,2"], {},
         r"line 3: the id '1' is of dataset 'ADNI2' here and of 'ADNI1' in line 2.*\n.*group: id"),
        ("path,label", ["s/sub-1_a.nii,x", "s/sub-1_b.nii,y"], {}, r"line 3: has a scan of sub-1, as line 2"),
        ("id,path,label,fam", ["1,a.nii,x,f", "2,b.nii,y,"], {"group": "fam"}, "line 3, column 'fam': ''"),
    ],
)  # fmt: skip
def test_cohort_rejects_tables_with_ambiguous_persons(
    tmp_path: Path, header: str, rows: list[str], options: dict[str, Any], message: str
) -> None:
    scans(tmp_path, "a.nii", "b.nii", "s/sub-1_a.nii", "s/sub-1_b.nii")
    csv = table(tmp_path, "\n".join([header, *rows]) + "\n")
    with pytest.raises(BraindinoError) as caught:
        _ = Cohort(csv, **options).manifest
    assert re.search(message, str(caught.value), re.DOTALL), caught.value


@pytest.mark.parametrize(
    ("header", "rows", "options", "expected"),
    [
        ("id,path,label,subject", ["1,a.nii,x,p", "2,b.nii,y,p"], {"group": "subject"}, 1),
        ("id,path,label,subject", ["1,a.nii,x,p", "2,b.nii,y,q"], {}, 2),
        ("id,path,label,patient", ["1,a.nii,x,yes", "2,b.nii,y,yes"], {}, 2),
        ("Patient ID,path,label,visit", ["1,a.nii,x,1", "1,b.nii,y,2"], {}, 1),
        ("id,path,label,dataset,visit", ["1,a.nii,x,D1,1", "1,b.nii,y,D2,2"], {"group": "id"}, 1),
        ("id,path,label,dataset", ["1,a.nii,x,D1", "1,b.nii,y,D2"], {"group": ["dataset", "id"]}, 2),
        ("id,path,label,site", ["1,a.nii,x,A", "1,b.nii,y,B"], {"group": ["site", "id"]}, 2),
        ("path,label", ["s/sub-1_a.nii,x", "s/sub-1_b.nii,y"], {"person": r"sub-\d"}, 1),
        ("id,path,label,age,visit", ["1,a.nii,x,30,1", "1,b.nii,y,61,2"], {}, 1),
    ],
)  # fmt: skip
def test_cohort_options_define_the_persons(
    tmp_path: Path, header: str, rows: list[str], options: dict[str, Any], expected: int
) -> None:
    scans(tmp_path, "a.nii", "b.nii", "s/sub-1_a.nii", "s/sub-1_b.nii")
    csv = table(tmp_path, "\n".join([header, *rows]) + "\n")
    assert len(people(Cohort(csv, **options).manifest)) == expected


def test_cohort_rejects_a_manifest_with_a_diagnosis_as_person(tmp_path: Path) -> None:
    scans(tmp_path, "a.nii", "b.nii")
    Cohort(table(tmp_path, "id,path,label,sex\n1,a.nii,x,M\n2,b.nii,y,F\n")).manifest.write(
        tmp_path / "m.csv"
    )
    frame = pd.read_csv(tmp_path / "m.csv").assign(group="depr")
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(BraindinoError, match=r"m\.csv, line 3: the person 'depr' has sex 'F'"):
        _ = Cohort(tmp_path / "m.csv").manifest


def test_cohort_warns_about_rows_without_an_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scans(tmp_path, "a.nii", "b.nii")
    _ = Cohort(table(tmp_path, "path,label\na.nii,x\nb.nii,y\n")).manifest
    assert "every row counts as one person" in caplog.text


def test_joined_differs_for_different_cells() -> None:
    cells = ["", "a", "/", "%", "a/", "/a", "%2F", "a%2F"]
    names = {joined([one, two]) for one in cells for two in cells}
    assert len(names) == len(cells) ** 2


def test_index_nnunet_groups_cases_of_one_person(tmp_path: Path) -> None:
    names = ["sub-01_ses-1", "sub-01_ses-2", "BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "P1_a", "P1_b"]
    scans(tmp_path, *(f"imagesTr/{name}_0000.nii.gz" for name in names))
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1w"}}))
    files_of = people(Cohort(tmp_path).index(tmp_path))
    assert {len(files) for group, files in files_of.items() if "P1" not in group} == {2}
    assert "brats2023:GLI-00005" in files_of
    assert len(files_of) == 4
    manifest = Cohort(tmp_path, person=r"^(sub-\d+|BraTS-GLI-\d+|P\d)").index(tmp_path)
    assert [len(files) for files in people(manifest).values()] == [2, 2, 2]
    with pytest.raises(BraindinoError, match="the option person, 'x', matches nothing in"):
        Cohort(tmp_path, person="x").index(tmp_path)


def test_brats_folds_with_a_person_in_two_folds(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = []
    for fold, number in enumerate(("00626", "00001", "00758")):  # the first and the last are one patient
        case = f"BraTS2021_{number}"
        images = [f"{case}/{case}_{name}.nii.gz" for name in ("flair", "t1ce", "t1", "t2")]
        entries.append({"fold": fold, "image": images, "label": f"{case}/{case}_seg.nii.gz"})
        scans(tmp_path, *images, entries[-1]["label"])
    (tmp_path / "folds.json").write_text(json.dumps({"training": entries}))
    manifest = BraTSFolds(tmp_path / "folds.json").manifest
    assert set(manifest.table["group"]) == {"brats2021:00626", "brats2021:00001"}
    assert set(manifest.dropped["reason"]) == {"the same person as BraTS2021_00626 in fold 0"}


# ------------------------------------------------------------------------- ids renamed through every reader


def _cohort(root: Path, names: list[str]) -> Manifest:
    lines = ["id,visit,path,label"]
    for number, name in enumerate(names):
        for session in range(SESSIONS):
            file = f"f{number}_{session}.nii"
            scans(root, file)
            lines.append(f"{name},{session},{file},{number % 2}")
    return Cohort(table(root, "\n".join(lines) + "\n")).manifest


def _person(root: Path, names: list[str]) -> Manifest:
    lines = ["path,label"]
    for number, name in enumerate(names):
        for session in range(SESSIONS):
            file = f"{name}_s{session}/f{number}_{session}.nii"
            scans(root, file)
            lines.append(f"{file},{number % 2}")
    csv = table(root, "\n".join(lines) + "\n")
    return Cohort(csv, person=r"([A-Za-z0-9]+)_s\d/f\d+_\d\.nii$").manifest


def _bids(root: Path, names: list[str]) -> Manifest:
    for name in names:
        for session in range(SESSIONS):
            scans(root, f"sub-{name}/ses-{session}/anat/sub-{name}_ses-{session}_T1w.nii.gz")
    return BIDS(root).manifest


def _folder(root: Path, names: list[str]) -> Manifest:
    for name in names:
        for session in range(SESSIONS):
            scans(root, f"{name}/visit{session}/t1_{session}.nii.gz")
    return Folder(root).manifest


def _nnunet(root: Path, names: list[str]) -> Manifest:
    for name in names:
        for session in range(SESSIONS):
            scans(root, f"imagesTr/sub-{name}_ses-{session}_0000.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1w"}}))
    return Cohort(root).index(root)


READERS = {"cohort": _cohort, "person": _person, "bids": _bids, "folder": _folder, "nnunet": _nnunet}


@pytest.mark.parametrize("reader", READERS)
def test_cohort_groups_are_the_same_under_renamed_ids(reader: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = list("abXYZ0123456789")
    for trial in range(4):
        names = sorted({"".join(rng.choice(letters, 4)) for _ in range(7)})
        names += ["1", "01", "001", "10"]  # ids that are one number in a careless reading
        renamed = [names[place] for place in rng.permutation(len(names))]
        for number, ids in enumerate((names, renamed)):
            manifest = READERS[reader](tmp_path / f"{trial}_{number}" / "study", ids)
            expected = people(manifest)
            assert len(expected) == len(ids)
            assert all(len(files) == SESSIONS for files in expected.values())
            manifest.write(tmp_path / f"{trial}_{number}.csv")
            assert people(Manifest.read(tmp_path / f"{trial}_{number}.csv")) == expected


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"subject": "a", "session": "b"}, {"subject": "a:b", "session": ""}),
        ({"subject": "a", "session": "", "group": "x"}, {"subject": "a", "session": "", "group": "y"}),
    ],
)
def test_case_table_rejects_scans_of_two_people_in_one_case(
    tmp_path: Path, one: dict[str, str], two: dict[str, str]
) -> None:
    rows = ManifestBuilder("d")
    for number, (cells, modality) in enumerate([(one, "T1w"), (two, "T2w")]):
        rows.keep(tmp_path / f"{number}.nii", modality=modality, **cells)
    store = Store.create(tmp_path / "store", Preprocessing(depth=4, size=(8, 8)))
    with pytest.raises(BraindinoError, match=r"has scans of two: (group|subject) "):
        case_table(rows.build(), store, ["T1w", "T2w"])
