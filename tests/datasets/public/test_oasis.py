from pathlib import Path

import numpy as np
import pandas as pd

from braindino.datasets.public.oasis import OASIS
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import read_scan
from braindino.synthetic.oasis import write_oasis


def test_oasis_index_lists_labels_and_dropped_files(tmp_path: Path) -> None:
    truth = write_oasis(tmp_path, 24, sessions=2, shape=(8, 8, 8))
    manifest = OASIS(tmp_path).index(tmp_path)
    columns = ["subject", "session", "dementia", "sex"]
    assert set(manifest.table[columns].itertuples(index=False, name=None)) == {
        tuple(scan[column] for column in columns) for scan in truth.scans
    }
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert len(truth.dropped) == 3
    assert set(manifest.table["dementia"]) == {"non-demented", "demented"}


def test_oasis_blank_cdr_may_count_as_control(tmp_path: Path) -> None:
    truth = write_oasis(tmp_path, 12, sessions=2, shape=(8, 8, 8))
    manifest = OASIS(tmp_path, blank_is_control=True).index(tmp_path)
    assert len(manifest.table) == len(truth.scans) + truth.dropped["no CDR"]
    assert manifest.table["group"].duplicated().sum() == 1  # the rescan stays with its person


def test_oasis_analyze_files_are_read_and_batched(tmp_path: Path) -> None:
    write_oasis(tmp_path, 24, shape=(12, 14, 12))
    data = OASIS(tmp_path, tmp_path / "store", prepare=True)
    data.use_contract(Preprocessing(depth=6, size=(12, 12)))
    data.prepare_data()
    data.setup()
    assert not data.dropped["path"].isin(data.manifest.table["path"]).any()
    scan = read_scan(data.manifest.table["path"][0])
    assert scan.data.shape == (12, 14, 12)
    assert 0.3 < np.mean(scan.data == 0) < 0.9  # stripped
    assert next(iter(data.train_dataloader()))["slices"].shape == (4, 1, 6, 12, 12)


def test_oasis_index_drops_a_cdr_that_is_no_number(tmp_path: Path) -> None:
    truth = write_oasis(tmp_path, 12, shape=(8, 8, 8))
    table = tmp_path / "oasis_cross-sectional.csv"
    cells = pd.read_csv(table, dtype=str, keep_default_na=False)
    first = OASIS(tmp_path).index(tmp_path).table.iloc[0]
    cells.loc[cells["ID"] == f"{first['subject']}_{first['session']}", "CDR"] = "?"
    cells.to_csv(table, index=False)
    manifest = OASIS(tmp_path).index(tmp_path)
    assert len(manifest.table) == len(truth.scans) - 1
    assert (manifest.dropped["reason"] == "CDR is no number: ?").sum() == 1
