from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from braindino.datasets.tables import decode_table, excel_sheets, read_excel, read_table
from braindino.errors import TableError
from braindino.synthetic.files import write_xls

WANTED = {"id": ("Subject", "Subject ID"), "age": ("Age at MRI", "age")}


@pytest.mark.parametrize(
    "raw",
    [
        "\ufeffsubject id,AGE,x\r\ns 1,61,?\r\nMüller, n/a ,?\r\n".encode(),
        b"Subject \tage\ns 1\t61\nM\xfcller\tNot Available\n",
        "x;Subject;Age at MRI\n?; s 1;61\n?;Müller;\n".encode(),
    ],
)
def test_read_table_parses_encodings_delimiters_and_blanks(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(raw)
    table = read_table(tmp_path / "t.csv", WANTED, {"sex": ("sex",)})
    assert table.to_dict("list") == {"id": ["s 1", "Müller"], "age": ["61", ""]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"])
def test_decode_table_reads_encodings_of_excel(tmp_path: Path, encoding: str) -> None:
    text = "Subject\tage\r\nMüller\t61\r\n"
    (tmp_path / "t.txt").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "t.txt", WANTED)
    assert table.to_dict("list") == {"id": ["Müller"], "age": ["61"]}


def test_decode_table_refuses_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfea")
    with pytest.raises(TableError, match=r"t\.csv: its first bytes mark it as UTF-16.*\n.*UTF-8"):
        decode_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,2\0\n")
    with pytest.raises(TableError, match="not a text table"):
        decode_table(tmp_path / "t.csv")


def test_read_table_does_not_blank_ids(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("subject,age\nNA,NA\nnone,61\n")
    assert read_table(tmp_path / "t.csv", WANTED).to_dict("list") == {"id": ["NA", "none"], "age": ["", "61"]}


@pytest.mark.parametrize("suffix", [".xls", ".xlsx"])
def test_read_excel_by_the_name_of_a_sheet(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    if suffix == ".xls":
        write_xls(path, [["a"], [1]])
        assert excel_sheets(path) == ["Sheet 1"]
    else:
        with pd.ExcelWriter(path) as book:
            pd.DataFrame({"a": [1]}).to_excel(book, sheet_name="Sheet 1", index=False)
            pd.DataFrame({"b": [2]}).to_excel(book, sheet_name="Visits", index=False)
        assert read_excel(path, "Visits").to_dict("list") == {"b": ["2"]}
    assert read_excel(path, "Sheet 1").to_dict("list") == {"a": ["1"]}
    with pytest.raises(TableError, match=r"no sheet 'sheet'\. Did you mean 'Sheet 1'\? There are 'Sheet 1'"):
        read_excel(path, "sheet")


def test_read_table_names_a_missing_column_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Subjects,Age\n1,2\n")
    with pytest.raises(TableError) as caught:
        read_table(tmp_path / "t.csv", WANTED)
    assert "t.csv: no column 'Subject' or 'Subject ID'; found 'Subjects', 'Age'. Is it 'Subjects'?" in str(
        caught.value
    )


@pytest.mark.parametrize("suffix", [".xls", ".xlsx"])
def test_read_table_reads_old_and_new_excel(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    rows: list[list[Any]] = [
        ["Subject ID", "Age at MRI", "x"],
        ["Müller", 61, ""],
        [7, 60.5, 1],
        ["s", "n/a", 0],
    ]
    if suffix == ".xls":
        write_xls(path, rows)
    else:
        pd.DataFrame(rows[1:], columns=rows[0]).to_excel(path, index=False)
    assert read_table(path, WANTED).to_dict("list") == {"id": ["Müller", "7", "s"], "age": ["61", "60.5", ""]}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(TableError, match=r"t\.xlsx?: is (not an Excel|an empty) table"):
        read_table(path, WANTED)


@pytest.mark.parametrize("raw", [None, b"", b'a,b\n1,2,3\n"'])
def test_read_table_refuses_files_that_are_no_table(tmp_path: Path, raw: bytes | None) -> None:
    if raw is not None:
        (tmp_path / "t.csv").write_bytes(raw)
    with pytest.raises(TableError, match=r"t\.csv"):
        read_table(tmp_path / "t.csv", WANTED)
