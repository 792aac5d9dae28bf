"""Neutralise cells that a spreadsheet would run as formulas, and restore them."""

import random
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from braindino.analysis.predictions import format_predictions, read_predictions
from braindino.csv_text import csv_text, neutralise, restore, restore_table
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.tables import read_table
from tests.helpers.predictions import cells, classification


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(1)",
        "=cmd|' /C calc'!A0",
        "+x",
        "-x",
        "@SUM(1)",
        "\t=1",
        "\r",
        "\n=1",
        " =1",
        "\uff1d1",
        "'=1",
    ],
)
def test_neutralise_marks_formulas(text: str) -> None:
    assert neutralise(text) == f"'{text}"
    assert restore(neutralise(text)) == text


@pytest.mark.parametrize(
    "value", ["", "-", "-1.5", "+3e-4", "-inf", "a=b", "'", "'tis", "sub-01", 1.5, -2, None, "'-5"]
)
def test_neutralise_leaves_numbers_and_plain_text(value: object) -> None:
    assert neutralise(value) == value
    assert restore(value) == value


def test_restore_table_inverts_csv_text() -> None:
    letters = "=+-@'\t\r\n \uff1d0aé,;\""
    source = random.Random(0)
    words = ["".join(source.choices(letters, k=source.randint(0, 5))) for _ in range(2000)]
    table = pd.DataFrame({"=a": words, "-1": range(len(words)), "number": [-0.5] * len(words)})
    text = csv_text(table)
    back = pd.read_csv(StringIO(text), dtype=str, keep_default_na=False, lineterminator="\n")
    assert back["number"].eq("-0.5").all()
    # A bare \\r ends a line for some readers of CSV, so it is compared where it is quoted.
    restored = restore_table(back)
    assert list(restored) == ["=a", "-1", "number"]
    assert list(restored["=a"]) == words
    assert not any(str(cell)[:1] in "=@" for cell in back["'=a"] if cell)


def test_csv_text_of_manifests_and_predictions_reads_back_exactly(tmp_path: Path) -> None:
    rows = ManifestBuilder("=x")
    for subject in ("=1+1", "-a", "+b", "@c", "'=d", "plain"):
        rows.keep(tmp_path / f"{subject}.nii.gz", subject, "T1w", label=subject)
    rows.drop(tmp_path / "-y.nii", "=z", "=broken")
    rows.build().write(tmp_path / "m.csv")
    written = (tmp_path / "m.csv").read_text() + (tmp_path / "m.dropped.csv").read_text()
    assert not any(cell[:1] in ("=", "@") for line in written.splitlines() for cell in line.split(","))
    back = Manifest.read(tmp_path / "m.csv")
    assert sorted(back.table["subject"]) == sorted(["=1+1", "-a", "+b", "@c", "'=d", "plain"])
    assert list(back.table["label"]) == list(back.table["subject"])
    assert list(back.dropped["reason"]) == ["=broken"]
    assert list(read_table(tmp_path / "m.csv", {"subject": ("subject",)})["subject"]) == list(
        back.table["subject"]
    )

    table = cells(classification, classes=("=CN", "@AD", "c"))
    table["case"] = "=" + table["case"]
    (tmp_path / "p.csv").write_text(format_predictions(table))
    assert "\n=" not in (tmp_path / "p.csv").read_text()
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "p.csv")[["case", "target", "prob_=CN"]],
        table[["case", "target", "prob_=CN"]].reset_index(drop=True),
        check_dtype=False,
        check_column_type=False,
    )
