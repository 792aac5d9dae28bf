"""Readers of tables return equal ages and sexes for every spelling."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from braindino.datasets import dataset_class
from braindino.datasets.manifest import Manifest
from braindino.datasets.tables import read_cells
from braindino.synthetic.abide import write_abide
from braindino.synthetic.adni import write_adni
from braindino.synthetic.cohort import write_cohort
from braindino.synthetic.ixi import write_ixi
from braindino.synthetic.oasis import write_oasis
from braindino.synthetic.pixar import write_pixar
from braindino.synthetic.ucsf_pdgm import write_ucsf_pdgm
from braindino.synthetic.upenn_gbm import write_upenn_gbm

TINY = (8, 8, 8)
# Reader -> what writes a synthetic copy, its table, and the column of ages.
READERS: dict[str, tuple[Callable[..., object], str, str]] = {
    "abide": (write_abide, "*henotypic*.csv", "AGE_AT_SCAN"),
    "adni": (write_adni, "ADNIMERGE.csv", "AGE"),
    "cohort": (write_cohort, "*.csv", "age"),
    "ixi": (write_ixi, "IXI.xls", "AGE"),
    "oasis": (write_oasis, "oasis_cross-sectional*", "Age"),
    "pixar": (write_pixar, "participants.tsv", "Age (years)"),
    "ucsf_pdgm": (write_ucsf_pdgm, "UCSF-PDGM-metadata*", "Age at MRI"),
    "upenn_gbm": (write_upenn_gbm, "UPENN-GBM_clinical_info*", "Age_at_scan_years"),
}


def index(name: str, root: Path) -> pd.DataFrame:
    manifest: Manifest = dataset_class(name)(root).manifest
    return manifest.table.set_index("path").sort_index()


def tables_of(root: Path, pattern: str) -> dict[Path, pd.DataFrame]:
    """Return the matching tables by the CSV or TSV to write them to; Excel files are removed."""
    tables = {}
    for file in sorted(root.rglob(pattern)):
        table = read_cells(file)
        if file.suffix in (".xls", ".xlsx"):
            file.unlink()
            file = file.with_suffix(".csv")
        tables[file] = table
    return tables


def respell(tables: dict[Path, pd.DataFrame], column: str, spell: Callable[[str], str]) -> None:
    """Write the tables with the numbers of a column in another spelling."""
    for file, table in tables.items():
        name = next(name for name in table.columns if name.strip() == column)
        cells = [spell(cell) if re.fullmatch(r"\d+(\.\d+)?", cell) else cell for cell in table[name]]
        delimiter = "\t" if file.suffix == ".tsv" else ","
        table.assign(**{name: cells}).to_csv(file, index=False, sep=delimiter)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "comma": lambda cell: cell.replace(".", ","),
    "DICOM": lambda cell: f"0{cell}Y",
    "word": lambda cell: f"{cell} years",
}


@pytest.mark.parametrize("name", READERS)
def test_ages_in_every_spelling_are_equal_in_every_reader(name: str, tmp_path: Path) -> None:
    write, pattern, column = READERS[name]
    write(tmp_path, 12, shape=TINY)
    before = index(name, tmp_path)
    assert before["age"].notna().any()
    tables = tables_of(tmp_path, pattern)
    for spell in SPELLINGS.values():
        respell(tables, column, spell)
        assert index(name, tmp_path)["age"].equals(before["age"])


@pytest.mark.parametrize("name", READERS)
def test_bounds_of_ages_are_blank_with_a_reason_in_every_reader(name: str, tmp_path: Path) -> None:
    write, pattern, column = READERS[name]
    write(tmp_path, 12, shape=TINY)
    before = index(name, tmp_path)
    respell(tables_of(tmp_path, pattern), column, lambda cell: "89+" if float(cell) > 0 else cell)
    if name in ("ixi", "pixar"):  # age is the label: no case remains
        dropped = dataset_class(name)(tmp_path).manifest.dropped["reason"]
        assert dropped.str.contains("age '89+' is a bound, not an age", regex=False).any()
        return
    after = index(name, tmp_path)
    known = before["age"].notna() & after["age"].isna()
    assert known.any()
    assert (after.loc[known, "blank_because"] == "age '89+' is a bound, not an age").all()


IDS = (
    "subject1",
    "patient1",
    "visit1",
    "part1",
    "mt12",
    "cat2",
    "P1",
    "ct1t2x",
    "set1",
    "flt1",
    "XT1",
    "pd1",
    "gd12",
)


@pytest.mark.parametrize("name", ["folder", "bids", "cohort"])
def test_sequences_do_not_depend_on_ids_in_any_reader(name: str, tmp_path: Path) -> None:
    words = {"T1w": "T1w", "T2w": "T2w", "FLAIR": "FLAIR"}
    for label in IDS:
        for word in words:
            stem = f"sub-{label}/anat/sub-{label}_{word}" if name == "bids" else f"{label}_{word}"
            path = tmp_path / "in" / f"{stem}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(2000))
    root = tmp_path / "in"
    if name == "cohort":
        root = tmp_path / "t.csv"
        rows = [f"{label},in/{label}_{word}.nii.gz,{i}" for label in IDS for i, word in enumerate(words)]
        root.write_text("id,path,label\n" + "\n".join(rows) + "\n")
    table = dataset_class(name)(root).manifest.table
    assert len(table) == len(IDS) * len(words)
    words_of_names = table["path"].str.extract(r"_([^_]+)\.nii\.gz$")[0]
    assert (table["modality"] == words_of_names.map(words)).all()
