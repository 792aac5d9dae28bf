from pathlib import Path

import pytest

from braindino.datasets.public.upenn_gbm import UPENNGBM, one_year
from braindino.errors import DatasetError, TableError
from braindino.scans.contract import Preprocessing
from braindino.synthetic.files import Planted
from braindino.synthetic.upenn_gbm import write_upenn_gbm


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    root = tmp_path_factory.mktemp("upenn")
    return root, write_upenn_gbm(root, 20, shape=(8, 8, 8))


def test_upenn_gbm_index_lists_times_events_and_dropped_files(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    manifest = UPENNGBM(root).manifest
    columns = ["subject", "time", "event", "one_year"]
    patients = manifest.table.drop_duplicates("subject")
    assert sorted(patients[columns].itertuples(index=False, name=None)) == sorted(
        tuple(scan[column] for column in columns) for scan in truth.scans
    )
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert (patients["event"] == 0).sum() == 4  # alive twice, lost, uncertain: all are included
    assert (manifest.table["group"] == "upenn_gbm:" + manifest.table["subject"]).all()
    masks = manifest.table[manifest.table["modality"] == "mask"].set_index("subject")["path"]
    assert len(masks) == len(patients)
    assert [s for s, path in masks.items() if path.endswith("_11_segm.nii.gz")] == ["UPENN-GBM-00003"]


def test_upenn_gbm_one_year_drops_patients_censored_earlier(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    manifest = UPENNGBM(root, target="one_year").manifest
    classes = manifest.table.drop_duplicates("subject").set_index("subject")["one_year"].to_dict()
    assert classes == {scan["subject"]: scan["one_year"] for scan in truth.scans if scan["one_year"]}
    assert manifest.dropped["reason"].value_counts()["censored within a year"] == 5
    assert set(classes.values()) == {"survived", "died"}


@pytest.mark.parametrize(
    ("time", "event", "label"),
    [(365, 1, "died"), (366, 1, "survived"), (365, 0, ""), (366, 0, "survived"), (0, 1, "died")],
)
def test_one_year(time: float, event: int, label: str) -> None:
    assert one_year(time, event) == label


def test_upenn_gbm_drops_an_uncertain_death_on_request(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    manifest = UPENNGBM(root, uncertain="drop").manifest
    assert manifest.table["subject"].nunique() == len(truth.scans) - 1
    assert manifest.dropped["reason"].value_counts()["uncertain date of death"] == 5
    with pytest.raises(DatasetError, match="and censored or drop"):
        UPENNGBM(root, uncertain="keep")  # type: ignore[arg-type]


def test_upenn_gbm_follow_ups_have_no_labels(tmp_path: Path) -> None:
    truth = write_upenn_gbm(tmp_path, 6, sessions=2, shape=(8, 8, 8))
    assert truth.dropped["not the exam before surgery (_11)"] == 4
    indexed = UPENNGBM(tmp_path, follow_ups=True).index(tmp_path)
    later = indexed.table[indexed.table["session"] == "21"]
    assert sorted(later["modality"]) == ["FLAIR", "T1c", "T1w", "T2w"]
    assert set(later["group"]) == {"upenn_gbm:UPENN-GBM-00001"}
    assert set(later["time"]) == {""}
    assert "not the exam before surgery (_11)" not in set(indexed.dropped["reason"])
    labelled = UPENNGBM(tmp_path, follow_ups=True).manifest
    assert "21" not in set(labelled.table["session"])
    assert (labelled.dropped["reason"] == "no time").sum() == 4


def test_upenn_gbm_index_reads_the_first_version_of_the_table(tmp_path: Path) -> None:
    truth = write_upenn_gbm(tmp_path, 12, shape=(8, 8, 8))
    table = tmp_path / "UPENN-GBM_clinical_info_v2.1.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    first = "\n".join(",".join(row[:4] + row[6:]) for row in rows)
    table.unlink()
    old = tmp_path / "UPENN-GBM_clinical_info_v1.0.csv"
    old.write_text(first.replace("_UPDATED", ""))
    manifest = UPENNGBM(tmp_path).manifest
    assert set(manifest.table["event"]) == {1}
    dead = {scan["subject"] for scan in truth.scans if scan["event"]}
    assert set(manifest.table["subject"]) == dead
    old.write_text(first.replace("Survival", "OS"))
    with pytest.raises(TableError, match=r"no column 'Survival_from_surgery_days_UPDATED' or .*found 'ID'"):
        _ = UPENNGBM(tmp_path).manifest


def test_upenn_gbm_batches_have_four_sequences_time_and_event(
    planted: tuple[Path, Planted], tmp_path: Path
) -> None:
    data = UPENNGBM(planted[0], tmp_path / "store", batch_size=2, prepare=True)
    data.use_contract(Preprocessing(depth=4, size=(8, 8)))
    data.prepare_data()
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["slices"].shape == (2, 4, 4, 8, 8)
    rows = data.cases.loc[batch["case"].tolist(), ["time", "event"]]
    assert batch["target"].tolist() == rows.to_numpy(float).tolist()
