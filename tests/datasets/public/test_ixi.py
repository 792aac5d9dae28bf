from pathlib import Path

import pytest

from braindino.datasets.public.ixi import IXI
from braindino.datasets.tables import read_excel
from braindino.errors import TableError
from braindino.scans.contract import Preprocessing
from braindino.synthetic.ixi import write_ixi


def test_ixi_index_lists_ages_and_dropped_files(tmp_path: Path) -> None:
    truth = write_ixi(tmp_path, 12, shape=(8, 8, 8))
    manifest = IXI(tmp_path).index(tmp_path)
    columns = ["subject", "age", "sex", "site"]
    assert set(manifest.table[columns].itertuples(index=False, name=None)) == {
        tuple(scan[column] for column in columns) for scan in truth.scans
    }
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert set(truth.dropped) == {
        "not T1w", "rows of the table contradict each other", "no age in the table", "not in the table",
    }  # fmt: skip
    other = IXI(tmp_path, sequence="T2w").index(tmp_path)
    assert set(other.table["modality"]) == {"T2w"}
    assert other.table["subject"].nunique() == truth.dropped["not T1w"]


def test_ixi_batches_have_ages(tmp_path: Path) -> None:
    write_ixi(tmp_path, 12, shape=(10, 10, 10))
    data = IXI(tmp_path, tmp_path / "store", batch_size=2, prepare=True)
    data.use_contract(Preprocessing(depth=4, size=(8, 8)))
    data.prepare_data()
    data.setup()
    batch = next(iter(data.train_dataloader()))
    rows = data.cases.loc[batch["case"].tolist()]
    assert batch["target"].tolist() == pytest.approx(rows["age"].tolist(), rel=1e-6)


def test_ixi_index_reads_a_csv(tmp_path: Path) -> None:
    write_ixi(tmp_path, 12, shape=(8, 8, 8))
    before = IXI(tmp_path).index(tmp_path)
    read_excel(tmp_path / "IXI.xls").to_csv(tmp_path / "IXI.csv", index=False)
    (tmp_path / "IXI.xls").unlink()
    after = IXI(tmp_path).index(tmp_path)
    assert after.table.equals(before.table)
    assert after.dropped.equals(before.dropped)


def test_ixi_index_names_a_missing_table(tmp_path: Path) -> None:
    write_ixi(tmp_path, 2, shape=(8, 8, 8))
    (tmp_path / "IXI.xls").unlink()
    with pytest.raises(TableError, match=r"no table IXI\*"):
        IXI(tmp_path).index(tmp_path)
    (tmp_path / "IXI.xls").write_bytes(b"not an excel file")
    with pytest.raises(TableError, match=r"IXI\.xls: is not an Excel table"):
        IXI(tmp_path).index(tmp_path)


def test_ixi_index_drops_an_age_that_is_no_number(tmp_path: Path) -> None:
    write_ixi(tmp_path, 12, shape=(8, 8, 8))
    before = IXI(tmp_path).index(tmp_path)
    cells = read_excel(tmp_path / "IXI.xls")
    number = int(before.table["subject"][0].removeprefix("IXI"))
    cells.loc[cells["IXI_ID"].astype(float) == number, "AGE"] = "thirty"
    cells.to_csv(tmp_path / "IXI.csv", index=False)
    (tmp_path / "IXI.xls").unlink()
    after = IXI(tmp_path).index(tmp_path)
    assert len(after.table) == len(before.table) - 1
    assert (after.dropped["reason"].str.startswith("age is no number in the table")).sum() == 1
