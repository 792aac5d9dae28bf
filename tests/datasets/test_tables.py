from pathlib import Path

import pandas as pd
import pytest

from braindino.datasets.synthetic.files import write_xls
from braindino.datasets.tables import TableError, read_table

WANTED = {"id": ("Subject", "Subject ID"), "age": ("Age at MRI", "age")}


@pytest.mark.parametrize(
    "raw",
    [
        "\ufeffsubject id,AGE,x\r\ns 1,61,?\r\nMüller, n/a ,?\r\n".encode(),
        b"Subject \tage\ns 1\t61\nM\xfcller\tNot Available\n",
        "x;Subject;Age at MRI\n?; s 1;61\n?;Müller;\n".encode(),
    ],
)
def test_encodings_delimiters_and_blanks(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(raw)
    table = read_table(tmp_path / "t.csv", WANTED, {"sex": ("sex",)})
    assert table.to_dict("list") == {"id": ["s 1", "Müller"], "age": ["61", ""]}


def test_a_missing_column_names_file_column_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Subjects,Age\n1,2\n")
    with pytest.raises(TableError) as caught:
        read_table(tmp_path / "t.csv", WANTED)
    assert "t.csv: no column 'Subject' or 'Subject ID'; found 'Subjects', 'Age'. Is it 'Subjects'?" in str(
        caught.value
    )


@pytest.mark.parametrize("suffix", [".xls", ".xlsx"])
def test_excel_old_and_new(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    rows = [["Subject ID", "Age at MRI", "x"], ["Müller", 61, ""], [7, 60.5, 1], ["s", "n/a", 0]]
    if suffix == ".xls":
        write_xls(path, rows)
    else:
        pd.DataFrame(rows[1:], columns=rows[0]).to_excel(path, index=False)
    assert read_table(path, WANTED).to_dict("list") == {"id": ["Müller", "7", "s"], "age": ["61", "60.5", ""]}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(TableError, match=r"t\.xlsx?: is (not an Excel|an empty) table"):
        read_table(path, WANTED)


@pytest.mark.parametrize("raw", [None, b"", b'a,b\n1,2,3\n"'])
def test_no_table(tmp_path: Path, raw: bytes | None) -> None:
    if raw is not None:
        (tmp_path / "t.csv").write_bytes(raw)
    with pytest.raises(TableError, match=r"t\.csv"):
        read_table(tmp_path / "t.csv", WANTED)
