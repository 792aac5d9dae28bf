import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from braindino.datasets.generic.cohort import Cohort
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError, DatasetError
from braindino.scans.contract import Preprocessing
from braindino.synthetic.cohort import write_cohort

CONTRACT = Preprocessing(depth=4, size=(8, 8))


def scans(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(2000))


def table(root: Path, text: str, name: str = "t.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root / name


def ready(data: Cohort) -> Cohort:
    data.use_contract(CONTRACT)
    data.prepare = True
    data.prepare_data()
    data.setup()
    return data


def listed(manifest: Manifest, root: Path, *columns: str) -> list[tuple[Any, ...]]:
    rows = manifest.table.assign(path=manifest.table["path"].map(lambda path: os.path.relpath(path, root)))
    return list(rows[["path", *columns]].itertuples(index=False, name=None))


def test_cohort_index_of_the_synthetic_table(tmp_path: Path) -> None:
    planted = write_cohort(tmp_path, people=8, sessions=2, shape=(8, 8, 8))
    data = Cohort(tmp_path)
    manifest = data.index(tmp_path)
    assert data.classes == ("0", "1")
    assert data.modalities == ("T1w",)
    assert manifest.table[["subject", "session", "label"]].to_dict("records") == planted.scans
    assert manifest.dropped["reason"].value_counts().to_dict() == planted.dropped
    assert data.label_counts(manifest) == manifest.table["label"].value_counts().to_dict()
    assert set(manifest.table["group"]) == {f"patients:{scan['subject']}" for scan in planted.scans}
    manifest.write(tmp_path / "m.csv")
    again = Cohort(tmp_path / "m.csv")
    columns = ["path", "subject", "session", "modality", "group", "sex", "age", "label"]
    assert again.manifest.table[columns].equals(manifest.table[columns])
    assert again.classes == data.classes


def test_cohort_batches_have_classes(tmp_path: Path) -> None:
    write_cohort(tmp_path, people=14, shape=(8, 8, 8))
    data = ready(Cohort(tmp_path, tmp_path / "store", classes=[1, 0]))
    batch = next(iter(data.train_dataloader()))
    assert batch["target"].dtype == torch.int64
    assert (
        data.cases.loc[batch["case"].tolist(), "label"].map({"1": 0, "0": 1}).tolist()
        == batch["target"].tolist()
    )
    assert set(data.cases["split"]) == {"train", "val", "test"}


def test_cohort_batches_have_numbers_and_survival(tmp_path: Path) -> None:
    write_cohort(tmp_path, people=14, shape=(8, 8, 8))
    ages = ready(Cohort(tmp_path, tmp_path / "store", task="regression", target="age"))
    batch = next(iter(ages.train_dataloader()))
    assert batch["target"].tolist() == pytest.approx(
        ages.cases.loc[batch["case"].tolist(), "age"].tolist(), rel=1e-6
    )
    assert len(ages.cases) == 13  # the row without a label has an age
    lives = ready(Cohort(tmp_path, tmp_path / "store", task="survival", target=["Months", "died"]))
    batch = next(iter(lives.train_dataloader()))
    rows = lives.cases.loc[batch["case"].tolist(), ["months", "died"]]
    assert batch["target"].numpy() == pytest.approx(rows.to_numpy(float), rel=1e-6)


def test_cohort_takes_columns_by_option_and_a_path_per_sequence(tmp_path: Path) -> None:
    scans(tmp_path / "nii", "a_f.nii", "a_l.nii", "a_t.nii", "b_f.nii")
    csv = table(
        tmp_path,
        "who\tfam\tflair\tt1\tlesion\tmRS\r\nA\tx\ta_f.nii\ta_t.nii\ta_l.nii\t3\r\nB\tx\tb_f.nii\t\tn/a\t0\r\n",
        "t.tsv",
    )
    data = Cohort(
        csv,
        id="who",
        group="Fam",
        path={"FLAIR": "flair", "T1w": "t1", "mask": "lesion"},
        scans=tmp_path / "nii",
        target="mRS",
        dataset="soop",
        modalities=["FLAIR"],
    )
    assert listed(data.manifest, tmp_path, "subject", "modality", "group", "mRS") == [
        ("nii/a_f.nii", "A", "FLAIR", "soop:x", "3"), ("nii/a_t.nii", "A", "T1w", "soop:x", "3"),
        ("nii/a_l.nii", "A", "mask", "soop:x", "3"), ("nii/b_f.nii", "B", "FLAIR", "soop:x", "0"),
    ]  # fmt: skip
    assert data.modalities == ("FLAIR",)


def test_cohort_takes_a_pattern_of_columns(tmp_path: Path) -> None:
    scans(tmp_path, "s1/v1/x_T1w.nii.gz", "s1/v2/x_T1w.nii.gz")
    csv = table(tmp_path, "subject,visit,run,label\ns1,v1,x,a\ns1,v2,x,b\n")
    data = Cohort(csv, pattern="{id}/{session}/{run}_T1w.nii.gz")
    assert listed(data.manifest, tmp_path, "session", "modality", "label") == [
        ("s1/v1/x_T1w.nii.gz", "v1", "T1w", "a"), ("s1/v2/x_T1w.nii.gz", "v2", "T1w", "b"),
    ]  # fmt: skip
    with pytest.raises(BraindinoError, match=r"no column 'runn' \(named in the pattern.*Did you mean 'run'"):
        _ = Cohort(csv, pattern="{runn}.nii").manifest


def test_cohort_reads_brainiac_tables(tmp_path: Path) -> None:
    scans(tmp_path / "a", "p1.nii.gz", "p2.nii.gz")
    single = Cohort(table(tmp_path / "a", "pat_id,label\np1,0\np2,1\n"))
    assert listed(single.manifest, tmp_path / "a", "subject", "modality", "label") == [
        ("p1.nii.gz", "p1", "scan", "0"), ("p2.nii.gz", "p2", "scan", "1"),
    ]  # fmt: skip
    scans(tmp_path / "b", "p1_t1ce.nii.gz", "p1_t2f.nii.gz", "p10_t1ce.nii.gz", "p1_seg.nii.gz")
    several = Cohort(table(tmp_path, "pat_id,label\np1,0\np10,1\n"), scans=tmp_path / "b")
    assert listed(several.manifest, tmp_path / "b", "subject", "modality") == [
        ("p1_t2f.nii.gz", "p1", "FLAIR"), ("p1_t1ce.nii.gz", "p1", "T1c"), ("p1_seg.nii.gz", "p1", "mask"),
        ("p10_t1ce.nii.gz", "p10", "T1c"),
    ]  # fmt: skip
    assert several.modalities == ("FLAIR", "T1c")
    scans(tmp_path / "c", "p1_20010203.nii.gz", "p1/20020203.nii.gz")
    older = Cohort(table(tmp_path / "c", "pat_id,scandate,label\np1,20010203,0\np1,20020203,1\n"))
    assert listed(older.manifest, tmp_path / "c", "session", "group") == [
        ("p1_20010203.nii.gz", "20010203", "t:p1"), ("p1/20020203.nii.gz", "20020203", "t:p1"),
    ]  # fmt: skip


def test_cohort_reads_braindino_lists(tmp_path: Path) -> None:
    scans(tmp_path, "n/sub-1_a.nii.gz", "n/sub-1_b.nii.gz", "n/sub-2.nii.gz", "n/sub-3.nii.gz")
    rows = "0,n/sub-1_a.nii.gz\n1,n/sub-2.nii.gz\n"
    table(tmp_path, rows, "train_1.csv")
    table(tmp_path, rows + "0,n/sub-1_b.nii.gz\n", "train_2.csv")
    table(tmp_path, "1,n/sub-3.nii.gz\n", "valid.csv")
    data = Cohort(tmp_path, person=r"sub-\d+")
    assert listed(data.manifest, tmp_path, "label", "split", "group") == [
        (f"n/sub-{name}.nii.gz", label, split, f"{tmp_path.name}:sub-{name[0]}")
        for name, label, split in (
            ("1_a", "0", "train"), ("1_b", "0", "train"), ("2", "1", "train"), ("3", "1", "val"),
        )
    ]  # fmt: skip
    assert len(Cohort(tmp_path / "train_1.csv").manifest.table) == 2
    table(tmp_path, "1,n/sub-1_a.nii.gz\n", "valid.csv")
    with pytest.raises(BraindinoError, match=r"valid\.csv, line 1: the same id.* as .*train_1\.csv, line 1"):
        _ = Cohort(tmp_path).manifest


def nnunet(root: Path, described: dict[str, Any] | str) -> Path:
    scans(
        root,
        "imagesTr/c1_0000.nii.gz",
        "imagesTr/c1_0001.nii.gz",
        "imagesTr/c2_0000.nii.gz",
        "labelsTr/c1.nii.gz",
        "imagesTs/c3_0000.nii.gz",
        "imagesTr/._c1_0000.nii.gz",
    )
    text = described if isinstance(described, str) else json.dumps(described)
    (root / "dataset.json").write_text(text)
    return root


def test_cohort_reads_nnunet_folders(tmp_path: Path) -> None:
    root = nnunet(
        tmp_path / "Dataset001_X", {"channel_names": {"0": "FLAIR", "1": "T1gd"}, "file_ending": ".nii.gz"}
    )
    data = Cohort(root)
    assert listed(data.index(root), root, "subject", "modality", "split", "group") == [
        ("imagesTr/c1_0000.nii.gz", "c1", "FLAIR", "train", "Dataset001_X:c1"),
        ("imagesTr/c1_0001.nii.gz", "c1", "T1c", "train", "Dataset001_X:c1"),
        ("labelsTr/c1.nii.gz", "c1", "mask", "train", "Dataset001_X:c1"),
        ("imagesTr/c2_0000.nii.gz", "c2", "FLAIR", "train", "Dataset001_X:c2"),
        ("imagesTs/c3_0000.nii.gz", "c3", "FLAIR", "test", "Dataset001_X:c3"),
    ]  # fmt: skip
    with pytest.raises(DatasetError, match="no labels"):
        data.setup()
    older = nnunet(tmp_path / "older", {"modality": {"0": "MRI", "1": "MRI 2"}})
    assert set(Cohort(older).index(older).table["modality"]) == {"MRI", "MRI 2", "mask"}


def test_cohort_takes_masks_as_labels(tmp_path: Path) -> None:
    channels = {"channel_names": {"0": "FLAIR", "1": "T1gd"}}
    root = nnunet(tmp_path / "x", channels | {"labels": {"background": 0, "whole": [1, 2], "core": 2}})
    data = Cohort(root, task="segmentation")
    assert set(data.manifest.table["subject"]) == {"c1"}
    assert data.manifest.dropped["reason"].value_counts().to_dict() == {"no mask": 2}
    assert data.regions == {"whole": (1, 2), "core": (2,)}
    older = nnunet(tmp_path / "y", channels | {"labels": {"0": "background", "1": "lesion"}})
    data = Cohort(older, task="segmentation")
    assert len(data.manifest.table) == 3
    assert data.regions == {"lesion": (1,)}
    for labels, message in (({"a": "b"}, "expected numbers"), (None, "lists no labels")):
        with pytest.raises(BraindinoError, match=message):
            _ = Cohort(nnunet(tmp_path / "z", channels | {"labels": labels}), task="segmentation").manifest
    csv = table(root, "id,path,lesion\n1,imagesTr/c1_0000.nii.gz,labelsTr/c1.nii.gz\n")
    options: dict[str, Any] = {"path": {"FLAIR": "path", "mask": "lesion"}, "task": "segmentation"}
    assert len(Cohort(csv, regions={"lesion": [1]}, **options).manifest.table) == 2
    with pytest.raises(DatasetError, match="segmentation needs `regions`"):
        _ = Cohort(csv, **options).manifest
    with pytest.raises(DatasetError, match="the mask is the label"):
        _ = Cohort(csv, target="id", **options).manifest


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected keys and values"),
        ({"channel_names": ["FLAIR"]}, "lists no channels"),
        ({"channel_names": {"0": "FLAIR"}}, r"is channel 1; dataset\.json lists only 0 \(FLAIR\)"),
        ({"channel_names": {"0": "FLAIR"}, "file_ending": ".nrrd"}, r"looked for <case>_0000\.nrrd"),
    ],
)
def test_cohort_rejects_broken_nnunet_folders(
    tmp_path: Path, described: dict[str, Any] | str, message: str
) -> None:
    with pytest.raises(BraindinoError, match=message):
        _ = Cohort(nnunet(tmp_path, described)).manifest


SURVIVAL = {"task": "survival", "target": ["t", "e"]}
GOOD = "id,path,label\n1,a.nii,x\n2,b.nii,y\n"


@pytest.mark.parametrize(
    ("text", "options", "pattern"),
    [
        ("id,path,label\n1,a.nii,x\n2,gone.nii,y\n", {},
         r"t\.csv, line 3, column 'path': no file /.*gone\.nii"),
        ("", {}, "is empty"),
        ("id,path,label\n", {}, "a header and no rows"),
        ("id|path|label\n1|a.nii|x\n", {}, r"one column only.*\n.*comma, a semicolon or a tab"),
        ("id,path,label\n1;a.nii;x\n", {}, "line 2: has 1 cells, the header 3"),
        ("id,path,label\n1,a.nii,x, y\n", {}, "line 2: has 4 cells"),
        ("id,path,Path\n1,a.nii,x\n", {}, "'path' appears twice"),
        ("id,label\n\0,x\n", {}, "not a text table"),
        (GOOD, {"target": "lable"}, "no column 'lable'.*Did you mean 'label'"),
        (GOOD, {"path": "pth"}, "no column 'pth'.*Did you mean 'path'"),
        (GOOD, {"id": "absent"}, "no column 'absent'"),
        ("x,label\n1,2\n", {}, r"neither a column of paths.*\nName one with the option"),
        ("id,path,label\n,a.nii,x\n", {}, "line 2, column 'id': '' is blank"),
        ("id,path,label\n1,,x\n", {}, "line 2, column 'path': '' is blank"),
        ("id,path,label\n1,a.nii,x\n1,b.nii,y\n", {}, r"line 3: the same id.* as .*line 2 \(t, 1, scan\)"),
        ("id,path,label\n1,a.nii,x\n2,a.nii,y\n", {}, "line 3: the same file as"),
        (GOOD, {"classes": ["x", "z"]}, "line 3, column 'label': 'y' is none of the classes x, z"),
        ("id,path,label\n1,a.nii,x\n2,b.nii,x\n", {}, "one class only, 'x'"),
        ("id,path,label\n1,a.nii,n/a\n2,b.nii,\n", {}, "no row has a label"),
        (GOOD, {"task": "regression"}, "line 2, column 'label': 'x' must be a number"),
        ("id,path,label\n1,a.nii,3\n2,b.nii,900\n", {"task": "regression", "target_range": (0, 120)},
         "line 3, column 'label': '900' is outside of 0 to 120"),
        ("id;path;label\n1;a.nii;3,500\n", {"task": "regression"}, "with a decimal point"),
        ("id,path,t,e\n1,a.nii,3,1\n2,b.nii,-1,0\n", SURVIVAL, "line 3.*below 0"),
        ("id,path,t,e\n1,a.nii,3,2\n", SURVIVAL, "line 2, column 'e': '2' must be 1"),
        (GOOD, {"task": "survival", "target": "label"}, r"survival takes \[time, event\]"),
        ("id,path,label,age\n1,a.nii,x,old\n", {}, "column 'age': 'old' must be a number of years"),
        ("id,path,label,sex\n1,a.nii,x,0\n", {}, "column 'sex': '0' must be F or M"),
        (GOOD, {"person": "("}, "no regular expression"),
        (GOOD, {"person": r"(\d{4})"}, "line 2: the option person.*matches nothing in .1."),
        (GOOD, {"modalities": ["T1w"]}, "no 'T1w'; there are scan"),
    ],
)  # fmt: skip
def test_cohort_rejects_wrong_tables(
    tmp_path: Path, text: str, options: dict[str, Any], pattern: str
) -> None:
    scans(tmp_path, "a.nii", "b.nii")
    csv = table(tmp_path, text)
    with pytest.raises(BraindinoError) as caught:
        _ = Cohort(csv, **options).manifest
    message = str(caught.value)
    assert re.search(pattern, message, re.DOTALL), message
    assert message.count("\n") <= 2


def test_cohort_rejects_too_many_classes(tmp_path: Path) -> None:
    scans(tmp_path, *(f"{i}.nii" for i in range(21)))
    csv = table(tmp_path, "id,path,label\n" + "".join(f"{i},{i}.nii,{i}\n" for i in range(21)))
    with pytest.raises(BraindinoError, match=r"21 different labels.*\n.*task: regression"):
        _ = Cohort(csv).manifest
    assert Cohort(csv, task="regression").manifest.table["label"].dtype == float


def test_cohort_drops_rows_without_a_file_on_request(tmp_path: Path) -> None:
    scans(tmp_path, "a.nii", "b.nii")
    csv = table(tmp_path, GOOD + "3,c.nii,x\n")
    dropped = Cohort(csv, missing_files="drop").manifest.dropped
    assert dropped[["subject", "reason"]].to_numpy().tolist() == [["3", "no such file"]]
    (tmp_path / "a.nii").unlink()
    (tmp_path / "b.nii").unlink()
    with pytest.raises(BraindinoError, match="none of 3 rows"):
        _ = Cohort(csv, missing_files="drop").manifest


def test_cohort_reads_excel_and_rejects_folders_without_one_table(tmp_path: Path) -> None:
    scans(tmp_path, "a.nii", "b.nii")
    with pytest.raises(BraindinoError, match=r"expected one table.*found none.*\n.*--dataset folder"):
        _ = Cohort(tmp_path).manifest
    pd.DataFrame({"id": [1, 2], "path": ["a.nii", "b.nii"], "label": [0.0, 1.0]}).to_excel(
        tmp_path / "t.xlsx"
    )
    data = Cohort(tmp_path)
    assert data.manifest.table["label"].tolist() == ["0", "1"]
    table(tmp_path, GOOD)
    with pytest.raises(BraindinoError, match=r"found 2 tables \(t\.csv, t\.xlsx\)"):
        _ = Cohort(tmp_path).manifest
    with pytest.raises(BraindinoError, match="no such table or folder"):
        _ = Cohort(tmp_path / "nowhere").manifest
    with pytest.raises(DatasetError, match="give one"):
        Cohort(tmp_path, path="a", pattern="{b}")


def test_cohort_keeps_classes_and_people_named_like_missing_values(tmp_path: Path) -> None:
    scans(tmp_path, *(f"{i}.nii" for i in range(4)))
    csv = table(tmp_path, "id,path,grade\nNA,0.nii,none\nnone,1.nii,low\nA,2.nii,none\nB,3.nii,\n")
    data = Cohort(csv, target="grade", classes=["none", "low"])
    assert data.manifest.table["group"].tolist() == ["t:A", "t:NA", "t:none"]
    assert data.manifest.table["grade"].tolist() == ["none", "none", "low"]
    assert data.manifest.dropped["reason"].tolist() == ["no grade in the table"]
    data.manifest.write(tmp_path / "m.csv")
    again = Cohort(tmp_path / "m.csv", target="grade", classes=["none", "low"])
    assert again.manifest.table["grade"].tolist() == ["none", "none", "low"]
    scans(tmp_path, "4.nii")
    csv.write_text(csv.read_text() + "C,4.nii,high\n")
    reasons = Cohort(csv, target="grade").manifest.dropped["reason"].value_counts().to_dict()
    assert reasons == {
        "no grade in the table: 'none' counts as missing unless `classes` lists it": 2,
        "no grade in the table": 1,
    }


def test_cohort_names_the_words_that_may_be_classes(tmp_path: Path) -> None:
    scans(tmp_path, *(f"{i}.nii" for i in range(3)))
    csv = table(tmp_path, "id,path,grade\na,0.nii,none\nb,1.nii,low\nc,2.nii,low\n")
    with pytest.raises(
        BraindinoError, match=r"line 2, column 'grade': contains the class 'low', and 'none'.*\n.*`classes`"
    ):
        _ = Cohort(csv, target="grade").manifest


def test_cohort_modality_is_a_sequence_beside_a_column_of_files_of_that_name(tmp_path: Path) -> None:
    scans(tmp_path, "a_0.nii", "b_0.nii")
    rows = "subject,flair,label\na,a_0.nii,1\nb,b_0.nii,2\n"
    data = Cohort(table(tmp_path, rows), path="flair", id="subject", modality="FLAIR")
    assert set(data.manifest.table["modality"]) == {"FLAIR"}


def test_cohort_rejects_file_names_of_which_only_some_have_a_sequence(tmp_path: Path) -> None:
    scans(tmp_path, "subject1_FLAIR.nii", "subject2_T2w.nii", "subject3.nii")
    rows = "".join(f"{i},subject{i}{end}.nii,{i}\n" for i, end in ((1, "_FLAIR"), (2, "_T2w"), (3, "")))
    with pytest.raises(
        BraindinoError, match=r"line 4: subject3\.nii has no sequence in its name.*FLAIR, T2w.*\n.*`modality`"
    ):
        _ = Cohort(table(tmp_path, f"id,path,label\n{rows}")).manifest
    scans(tmp_path, "subject2_FLAIR.nii")
    data = Cohort(table(tmp_path, f"id,path,label\n{rows.replace('_T2w', '_FLAIR')}"))
    assert set(data.manifest.table["modality"]) == {"scan"}


def test_cohort_reads_ages_and_sexes_by_their_spelling_and_codes(tmp_path: Path) -> None:
    scans(tmp_path, *(f"{i}.nii" for i in range(5)))
    rows = ["45Y;0", "045Y;1", "45,0;1", "89+;0", "n/a;n/a"]
    csv = table(
        tmp_path, "id;path;age;sex\n" + "".join(f"p{i};{i}.nii;{cells}\n" for i, cells in enumerate(rows))
    )
    with pytest.raises(
        BraindinoError, match=r"line 2, column 'sex': '0' must be F or M.*\n.*`sex_codes: {0: M"
    ):
        _ = Cohort(csv).manifest
    known = Cohort(csv, sex_codes={"0": "M", "1": "F"}).manifest.table
    assert known["sex"].tolist() == ["M", "F", "F", "M", ""]
    assert known["age"].fillna(-1).tolist() == [45, 45, 45, -1, -1]
    assert known["blank_because"].tolist() == ["", "", "", "age '89+' is a bound, not an age", ""]
    lost = Cohort(csv, task="regression", target="age", sex_codes={"0": "M", "1": "F"}).manifest.dropped
    assert lost["reason"].tolist() == [
        "no age in the table: age '89+' is a bound, not an age", "no age in the table",
    ]  # fmt: skip


def test_cohort_rejects_ids_with_invisible_characters(tmp_path: Path) -> None:
    scans(tmp_path, "0.nii", "1.nii")
    csv = table(tmp_path, "id,path,label\np1,0.nii,a\np1\u200b,1.nii,b\n")
    with pytest.raises(BraindinoError, match=r"line 3, column 'id'.*invisible character"):
        _ = Cohort(csv).manifest


def test_cohort_rejects_one_id_in_two_forms_of_unicode(tmp_path: Path) -> None:
    scans(tmp_path, "0.nii", "1.nii")
    csv = table(tmp_path, "id\u200b,path,label\nMu\u0308ller,0.nii,a\nM\u00fcller,1.nii,b\n")
    with pytest.raises(BraindinoError, match=r"line 3, column 'id': 'M.*' is spelled with other characters"):
        _ = Cohort(csv).manifest


def test_cohort_reads_exports_of_excel(tmp_path: Path) -> None:
    scans(tmp_path, "0.nii", "1.nii")
    text = "sep=;\r\nid;path;score\r\nMüller;0.nii;3,5\r\nMaier;1.nii;4,25\r\n"
    for encoding in ("utf-16", "cp1252", "utf-8-sig"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        rows = Cohort(tmp_path / "t.csv", task="regression", target="score").manifest.table
        assert rows["subject"].tolist() == ["Maier", "Müller"]
        assert rows["score"].tolist() == [4.25, 3.5]


def test_cohort_reads_a_sheet_by_its_name(tmp_path: Path) -> None:
    scans(tmp_path, "0.nii", "1.nii")
    rows = pd.DataFrame({"id": ["a", "b"], "path": ["0.nii", "1.nii"], "label": ["x", "y"]})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"column": ["label"], "meaning": ["class"]}).to_excel(
            book, sheet_name="Legend", index=False
        )
        rows.to_excel(book, sheet_name="Visits", index=False)
    assert len(Cohort(tmp_path / "t.xlsx", sheet="Visits").manifest.table) == 2
    with pytest.raises(BraindinoError, match=r"has 2 sheets with rows \('Legend', 'Visits'\)\.\n.*`sheet`"):
        _ = Cohort(tmp_path / "t.xlsx").manifest
    with pytest.raises(BraindinoError, match=r"no sheet 'Visit'\. Did you mean 'Visits'"):
        _ = Cohort(tmp_path / "t.xlsx", sheet="Visit").manifest
    with pytest.raises(BraindinoError, match="has no sheets"):
        _ = Cohort(table(tmp_path, GOOD), sheet="Visits").manifest


def test_cohort_error_gives_the_reason_why_no_row_has_a_scan(tmp_path: Path) -> None:
    scans(tmp_path, "a/1.dcm", "b/1.dcm")
    file = table(tmp_path, "id,path,label\n1,a,0\n2,b,1\n")
    with pytest.raises(BraindinoError, match="none of 2 rows has a scan that can be used: 2 x a folder"):
        Cohort(file).index(file)


def test_cohort_finds_the_label_in_any_case(tmp_path: Path) -> None:
    scans(tmp_path, "1.nii", "2.nii", "3.nii")
    file = table(tmp_path, "ID,Path,Label\n1,1.nii,a\n2,2.nii,b\n3,3.nii,\n")
    data = Cohort(file)
    assert data.manifest.table["Label"].tolist() == ["a", "b"]
    assert (data.target, data.classes) == (("Label",), ("a", "b"))
