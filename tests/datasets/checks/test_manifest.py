"""Every check of a manifest, on small files that are wrong in one way each."""

from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.datasets.checks import files as inspection
from braindino.datasets.checks.manifest import CheckReport, LabelRule, Pretraining, check_manifest
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store
from braindino.synthetic.adni import write_adni


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Six people with a T1w and a FLAIR each, in the rows 2 and 3, 4 and 5, ...; nothing wrong."""
    rows = ManifestBuilder("made")
    for person in range(6):
        for k, modality in enumerate(("FLAIR", "T1w")):
            path = tmp_path / f"{person}_{modality}.nii"
            save(path, 2 * person + k)
            rows.keep(path, f"p{person}", modality, label="ab"[person % 2], score=person, sex="F", age=30)
    rows.build().write(tmp_path / "m.csv")
    return tmp_path / "m.csv"


def save(path: Path, seed: int, shape: tuple[int, ...] = (6, 7, 8), spacing: float = 1.0) -> None:
    volume = np.random.default_rng(seed).integers(1, 99, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(volume, np.diag([spacing, spacing, spacing, 1])), path)


def change(csv: Path, row: int, **cells: object) -> None:
    """Write cells into a line of the manifest."""
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    for column, value in cells.items():
        table.loc[row - 2, column] = str(value)
    table.to_csv(csv, index=False)


def locations(report: CheckReport) -> list[tuple[str, int, str]]:
    return [(finding.check, finding.row, finding.column) for finding in report.findings]


def test_check_manifest_finds_nothing_in_a_sound_manifest(csv: Path) -> None:
    report = check_manifest(csv, progress=False)
    assert report.findings == []
    assert (report.scans, report.cases, report.people) == (12, 6, 6)
    assert [what.split()[0] for what in report.not_checked] == ["splits", "overlap"]


def test_check_manifest_lists_missing_files_and_files_that_are_no_scans(csv: Path) -> None:
    (csv.parent / "0_T1w.nii").unlink()
    (csv.parent / "1_FLAIR.nii").write_bytes(b"nonsense" * 100)
    report = check_manifest(csv, progress=False)
    assert locations(report) == [("missing files", 3, "path"), ("unusable headers", 4, "path")]
    assert report.findings[1].finding == "neither NIfTI, Analyze nor MGH, but text"


def test_check_manifest_uses_rejects_and_contents_of_the_store(csv: Path, tmp_path: Path) -> None:
    table = Manifest.read(csv).table
    flat = np.zeros((6, 7, 8), np.int16)
    nib.save(nib.Nifti1Image(flat, np.eye(4)), table["path"][2])
    (tmp_path / "5_T1w.nii").write_bytes((tmp_path / "0_T1w.nii").read_bytes())
    store = Store.create(tmp_path / "store", Preprocessing(depth=4, size=(8, 8)))
    fill(store, table[:11], progress=False)  # the copy, in line 13, is not in the store
    report = check_manifest(csv, Store.open(store.path), progress=False)
    assert locations(report) == [("rejected by the store", 4, "path"), ("people under two ids", 13, "group")]


def test_check_manifest_lists_equal_files_of_one_and_of_two_people(csv: Path, tmp_path: Path) -> None:
    for copy, original in (("1_T1w", "0_T1w"), ("2_T1w", "2_FLAIR")):
        (tmp_path / f"{copy}.nii").write_bytes((tmp_path / f"{original}.nii").read_bytes())
    pd.DataFrame({"group": [f"made:p{i}" for i in range(6)], "split": ["train"] * 1 + ["test"] * 5}).to_csv(
        tmp_path / "split.csv", index=False
    )
    report = check_manifest(csv, split_file=tmp_path / "split.csv", progress=False)
    assert locations(report) == [("people under two ids", 5, "group"), ("duplicate scans", 7, "path")]
    assert report.findings[0].finding == (
        "the same content as line 3, whose group is made:p0, and they are in test and train"
    )


def test_check_manifest_accepts_equal_masks(csv: Path) -> None:
    for row in (3, 5, 7):
        change(csv, row, modality="mask")
        nib.save(
            nib.Nifti1Image(np.zeros((6, 7, 8), np.uint8), np.eye(4)),
            Manifest.read(csv).table["path"][row - 2],
        )
    assert check_manifest(csv, modalities=["FLAIR"], progress=False).findings == []


def test_check_manifest_lists_contradictions(csv: Path) -> None:
    change(csv, 3, sex="M")
    change(csv, 5, group="made:p9")
    change(csv, 7, label="b")
    report = check_manifest(csv, progress=False)
    assert locations(report) == [
        (("contradictions"), 5, "group"),
        ("contradictions", 3, "sex"),
        ("contradictions", 7, "label"),
    ]
    assert report.findings[1].finding == "made:p0 has F in line 2"


def test_check_manifest_lists_missing_and_repeated_sequences(csv: Path) -> None:
    change(csv, 3, modality="FLAIR")
    report = check_manifest(csv, progress=False)
    assert locations(report) == [
        ("sequences missing", 2, "modality"),
        ("several scans of a sequence", 3, "modality"),
    ]
    assert report.findings[0].finding == "made:p0 lacks T1w"
    for row in (2, 3):
        change(csv, row, modality="unknown")
    assert check_manifest(csv, progress=False).findings == []
    wanted = check_manifest(csv, modalities=["T2w"], progress=False)
    assert Counter(check for check, _, _ in locations(wanted))["sequences missing"] == 5


def test_check_manifest_lists_wrong_labels(csv: Path) -> None:
    for row in (2, 3):
        change(csv, row, label="", score="")
    for row in (4, 5):
        change(csv, row, label="c", score="900")
    change(csv, 6, age=130)
    rules = [LabelRule("label", ("a", "b")), LabelRule("score", (), (0, 10))]
    report = check_manifest(csv, label_rules=rules, progress=False)
    assert locations(report) == [
        ("labels missing", 2, "label"),
        ("labels out of range", 4, "label"),
        ("labels missing", 2, "score"),
        ("labels out of range", 4, "score"),
        ("labels out of range", 6, "age"),
    ]
    with pytest.raises(BraindinoError, match=r"no label column 'scor'\. Did you mean 'score'"):
        check_manifest(csv, label_rules=[LabelRule("scor")], progress=False)


def test_check_manifest_checks_the_column_label_in_any_case(csv: Path) -> None:
    csv.write_text(csv.read_text().replace(",label,", ",Label,", 1))
    change(csv, 2, Label="")
    report = check_manifest(csv, progress=False)
    assert ("labels missing", 2, "Label") in locations(report)


def test_check_manifest_lists_labels_that_look_alike_or_count_as_missing(csv: Path) -> None:
    for row, label in enumerate(
        ["Good", "Good", "good", "good", "Good\u200b", "Good\u200b", "no", "no"], start=2
    ):
        change(csv, row, label=label)
    change(csv, 10, label="none")
    change(csv, 11, label="none")
    report = check_manifest(csv, label_rules=[LabelRule("label")], progress=False)
    messages = {(f.check, f.row, f.value): f.finding for f in report.findings}
    assert messages == {
        ("labels missing", 10, ""): "'none' counts as missing; a class of that name must be listed",
        ("labels that look alike", 4, "good"): "looks like 'Good' (1 so spelt, 1 this way)",
        ("labels that look alike", 6, "Good<U+200B>"): "looks like 'Good' (1 so spelt, 1 this way)",
    }
    named = LabelRule("label", ("Good", "good", "Good\u200b", "none", False, "b"))
    assert check_manifest(csv, label_rules=[named], progress=False).findings == []


def test_check_manifest_lists_ids_that_look_alike_once_per_person(csv: Path) -> None:
    change(csv, 4, subject="P0", group="made:P0")
    change(csv, 5, subject="P0", group="made:P0")
    change(csv, 6, subject="P0", group="made:p0")  # given as the same person
    change(csv, 7, subject="P0", group="made:p0")
    report = check_manifest(csv, label_rules=[], progress=False)
    alike = [f for f in report.findings if f.check == "ids that look alike"]
    assert [(f.row, f.value, f.finding) for f in alike] == [(4, "P0", "looks like 'p0' in line 2")]


def test_check_manifest_lists_a_word_among_numbers(csv: Path) -> None:
    rows = ManifestBuilder("made")
    for i in range(12):
        save(csv.parent / f"{i}.nii", i)
        rows.keep(csv.parent / f"{i}.nii", str(i), "T1w", label="many" if i == 10 else i)
    rows.build().write(csv)
    assert [(f.column, f.value) for f in check_manifest(csv, progress=False).findings] == [("label", "many")]


def test_check_manifest_uses_the_labels_of_registered_datasets(tmp_path: Path) -> None:
    from braindino.datasets.public.adni import ADNI

    write_adni(tmp_path, people=6, shape=(8, 8, 8))
    ADNI(tmp_path).index(tmp_path).write(tmp_path / "m.csv")
    change(tmp_path / "m.csv", 2, diagnosis="ad")
    report = check_manifest(tmp_path / "m.csv", progress=False)
    assert ("labels out of range", 2, "diagnosis") in locations(report)
    assert report.findings[0].finding == "none of CN, MCI, AD"


def test_check_manifest_lists_unusual_shapes_and_spacings(csv: Path, tmp_path: Path) -> None:
    save(tmp_path / "0_T1w.nii", 1, (8, 7, 6))  # turned, but of the same size
    save(tmp_path / "1_T1w.nii", 3, (6, 7, 2))
    save(tmp_path / "2_T1w.nii", 5, spacing=2.0)
    report = check_manifest(csv, progress=False)
    assert locations(report) == [("shape or spacing unlike the others", row, "path") for row in (5, 7)]
    assert report.findings[0].value == "6 x 7 x 2 voxels of 1 x 1 x 1 mm"


@pytest.mark.parametrize("by", ["case", "group", None])
def test_check_manifest_lists_people_in_two_parts(csv: Path, tmp_path: Path, by: str | None) -> None:
    for row in (4, 5):
        change(csv, row, group="made:p0", subject="q")
    parts = ["train", "test", "train", "val", "test", "none"]
    if by is None:
        for row in range(2, 14):
            change(csv, row, split=parts[row // 2 - 1])
        report = check_manifest(csv, progress=False)
        assert locations(report) == [("splits that share a person", 4, "split")]
        return
    names = ["made:p0", "made:q" if by == "case" else "made:p0", *(f"made:p{i}" for i in range(2, 6))]
    pd.DataFrame({by: names, "split": parts}).to_csv(tmp_path / "split.csv", index=False)
    report = check_manifest(csv, split_file=tmp_path / "split.csv", progress=False)
    assert locations(report) == [("splits that share a person", 3, "split" if by == "case" else "group")]
    assert report.findings[0].file == str(tmp_path / "split.csv")


def test_check_manifest_lists_errors_of_split_files(csv: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    names = [f"made:p{i}" for i in range(5)]
    pd.DataFrame({"group": names, "split": ["train", "val", "test", "tset", ""]}).to_csv(file, index=False)
    report = check_manifest(csv, split_file=file, progress=False)
    assert locations(report) == [("split file", 5, "split"), ("split file", 12, "group")]
    file.write_text("group,split\nothers:p1,train\n")
    with pytest.raises(
        BraindinoError, match=r"no group matches the manifest; 'others:p1' in the file, 'made:p0' in"
    ):
        check_manifest(csv, split_file=file, progress=False)
    file.write_text("name,split\np1,train\n")
    with pytest.raises(BraindinoError, match="one of `case` and `group`"):
        check_manifest(csv, split_file=file, progress=False)


def test_check_manifest_lists_overlap_with_pretraining_once_per_person(csv: Path) -> None:
    seen = Pretraining(lambda table, _: table["group"].isin(["made:p1", "made:p2"]), by_content=False)
    report = check_manifest(csv, seen=seen, progress=False)
    assert locations(report) == [("seen in pretraining", 4, "group"), ("seen in pretraining", 6, "group")]
    assert report.findings[0].finding == "2 scans"


def test_check_manifest_does_not_read_files_again(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check_manifest(csv, progress=False)

    def refuse(path: str) -> None:
        looked.append(Path(path).name)
        raise KeyboardInterrupt

    looked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(inspection, "read_header", refuse)
        patch.setattr(inspection, "content_digest", refuse)
        assert check_manifest(csv, progress=False) == first
        save(csv.parent / "3_T1w.nii", 99, (6, 7, 9))
        with pytest.raises(KeyboardInterrupt):
            check_manifest(csv, progress=False)
    assert looked == ["3_T1w.nii"]
    assert check_manifest(csv, progress=False) == first
