import math
from pathlib import Path

import pytest

from braindino.datasets.cells import parse_sex
from braindino.datasets.manifest import COLUMNS, DOCUMENTED_SEX, Manifest, ManifestBuilder
from braindino.errors import ManifestError


def build(folder: Path) -> Manifest:
    rows = ManifestBuilder("mine")
    rows.keep(folder / "Köln scans" / "b, c.nii", "s2", "T1w", session="2", sex="male", age="61.5", label=1)
    rows.keep(folder / "Köln scans" / "ä 1.nii.gz", "s1", "T1w", sex=2, age="n/a", label=0)
    rows.drop(folder / "x_mask.nii", "s1", "mask")
    rows.drop("", "s3", "no scan")
    return rows.build()


def test_manifest_round_trip_with_spaces_commas_and_umlauts(tmp_path: Path) -> None:
    manifest = build(tmp_path)
    manifest.write(tmp_path / "tables" / "mine.csv")
    text = (tmp_path / "tables" / "mine.csv").read_text(encoding="utf-8")
    assert "../Köln scans/ä 1.nii.gz" in text
    back = Manifest.read(tmp_path / "tables" / "mine.csv")
    assert list(back.table.columns) == [*COLUMNS, "label"]
    assert back.label_columns == ["label"]
    assert list(back.table["path"]) == list(manifest.table["path"])
    assert list(back.table["sex"]) == ["F", "M"]
    assert math.isnan(back.table["age"][0])
    assert back.table["age"][1] == 61.5
    assert list(back.table["label"]) == [0, 1]
    assert back.dropped.to_dict("records") == manifest.dropped.to_dict("records")


def test_manifest_paths_are_relative_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    build(tmp_path / "a").write(tmp_path / "a" / "m.csv")
    (tmp_path / "a").rename(tmp_path / "b")
    assert all(str(tmp_path / "b") in path for path in Manifest.read(tmp_path / "b" / "m.csv").table["path"])


def test_manifest_builder_sorts_scans(tmp_path: Path) -> None:
    one, two = ManifestBuilder("d"), ManifestBuilder("d")
    for name in "abc":
        one.keep(tmp_path / name, name, "T1w")
    for name in "bca":
        two.keep(tmp_path / name, name, "T1w")
    assert one.build().table.equals(two.build().table)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("group", "person", ["no column 'group'", "braindino index"]),
        ("modality", "Modality", ["no column 'modality'", "is it 'Modality'?"]),
        (",", ";", ["no column 'dataset'", "separated by commas, not by semicolons"]),
        ("male", "x", None),
        ("61.5", "sixty", ["line 3", "'age'", "'sixty'"]),
        (",M,", ",hermaphrodite,", ["line 3", "'sex'"]),
        ("mine:s2", "", ["line 3", "'group'", "blank"]),
        ("b, c.nii", "ä 1.nii.gz", ["line 3", "'path'", "earlier row"]),
    ],
)
def test_manifest_read_raises_with_line_and_column(
    tmp_path: Path, old: str, new: str, parts: list[str] | None
) -> None:
    csv = tmp_path / "m.csv"
    build(tmp_path).write(csv)
    text = csv.read_text(encoding="utf-8")
    csv.write_text(text.replace(old, new), encoding="utf-8")
    if parts is None:
        Manifest.read(csv)
        return
    with pytest.raises(ManifestError) as caught:
        Manifest.read(csv)
    message = str(caught.value)
    assert str(csv) in message
    assert all(part in message for part in parts), message
    assert message.count("\n") <= 2


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00bad", b'a,b\n1,2,3,4\n"'])
def test_manifest_read_refuses_files_that_are_no_tables(tmp_path: Path, content: bytes | None) -> None:
    csv = tmp_path / "m.csv"
    if content is not None:
        csv.write_bytes(content)
    with pytest.raises(ManifestError, match=r"m\.csv"):
        Manifest.read(csv)


def test_manifest_read_refuses_a_header_alone(tmp_path: Path) -> None:
    ManifestBuilder("d").build().write(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="no scans"):
        Manifest.read(tmp_path / "m.csv")


def test_manifest_read_returns_codes_with_leading_zeros_as_text(tmp_path: Path) -> None:
    rows = ManifestBuilder("d")
    rows.keep(tmp_path / "a", "a", "T1w", code="007", score=1.5, note="")
    rows.keep(tmp_path / "b", "b", "T1w", code="011", score="", note="")
    rows.build().write(tmp_path / "m.csv")
    table = Manifest.read(tmp_path / "m.csv").table
    assert list(table["code"]) == ["007", "011"]
    assert table["score"][0] == 1.5
    assert math.isnan(table["score"][1])


def test_manifest_builder_drops_names_that_are_not_utf8(tmp_path: Path) -> None:
    rows = ManifestBuilder("d")
    rows.keep(tmp_path / "\udcff.nii", "s", "T1w")
    manifest = rows.build()
    assert manifest.table.empty
    assert list(manifest.dropped["reason"]) == ["file name is not valid UTF-8"]
    manifest.write(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("value", "sex"),
    [
        ("M", "M"),
        ("f", "F"),
        ("Male", "M"),
        (" FEMALE ", "F"),
        (1, "M"),
        ("2", "F"),
        (2.0, "F"),
        ("", ""),
        ("n/a", ""),
        (-9999, ""),
    ],
)
def test_parse_sex_with_documented_codes(value: object, sex: str) -> None:
    assert parse_sex(value, DOCUMENTED_SEX)[0] == sex


def test_manifest_builder_refuses_an_age_that_is_no_number(tmp_path: Path) -> None:
    rows = ManifestBuilder("d")
    with pytest.raises(ManifestError, match=r"age of 's1' is 'sixty', no number of years"):
        rows.keep(tmp_path / "a.nii", "s1", "T1w", age="sixty")


def test_manifest_builder_keeps_the_reason_of_a_blank(tmp_path: Path) -> None:
    rows = ManifestBuilder("d")
    rows.keep(tmp_path / "a.nii", "s1", "T1w", age="66 y", sex="F")
    rows.keep(tmp_path / "b.nii", "s2", "T1w", age="89+", sex="x", blank_because="modality: ?")
    rows.build().write(tmp_path / "m.csv")
    table = Manifest.read(tmp_path / "m.csv").table
    assert table["age"].fillna(-1).tolist() == [66.0, -1.0]
    assert table.columns[-1] == "blank_because"
    assert table["blank_because"].tolist() == [
        "",
        "modality: ?; sex 'x' is neither F nor M; age '89+' is a bound, not an age",
    ]


def test_manifest_read_refuses_codes_for_sex(tmp_path: Path) -> None:
    build(tmp_path).write(tmp_path / "m.csv")
    text = (tmp_path / "m.csv").read_text(encoding="utf-8")
    (tmp_path / "m.csv").write_text(text.replace(",M,", ",1,"), encoding="utf-8")
    with pytest.raises(ManifestError, match="line 3, column 'sex': '1' must be F, M or blank"):
        Manifest.read(tmp_path / "m.csv")


def test_manifest_read_refuses_rows_with_too_many_cells(tmp_path: Path) -> None:
    build(tmp_path).write(tmp_path / "m.csv")
    lines = (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()
    lines[1] = "one more," + lines[1]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="line 2: has more cells than the header"):
        Manifest.read(tmp_path / "m.csv")
