import csv
from pathlib import Path
from typing import Literal

import pytest

from braindino.datasets.public.ucsf_pdgm import CLASSES, UCSFPDGM
from braindino.errors import DatasetError, TableError
from braindino.synthetic.files import Planted
from braindino.synthetic.ucsf_pdgm import write_ucsf_pdgm


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    root = tmp_path_factory.mktemp("ucsf")
    return root, write_ucsf_pdgm(root, 18, shape=(8, 8, 8))


@pytest.mark.parametrize("target", ["idh", "mgmt", "codeletion"])
def test_ucsf_pdgm_index_lists_labels_and_dropped_files(
    planted: tuple[Path, Planted], target: Literal["idh", "mgmt", "codeletion"]
) -> None:
    root, truth = planted
    manifest = UCSFPDGM(root, target=target).manifest
    exams = manifest.table.drop_duplicates("subject")
    known = {scan["subject"]: scan[target] for scan in truth.scans if scan[target]}
    assert dict(zip(exams["subject"], exams[target], strict=True)) == known
    assert set(known.values()) == set(CLASSES[target])
    reasons = manifest.dropped["reason"].value_counts().to_dict()
    blank = len(truth.scans) - len(known)
    assert reasons.pop(f"no {target}", 0) == 5 * blank
    assert reasons == truth.dropped
    assert set(manifest.table["modality"]) == {"T1w", "T1c", "T2w", "FLAIR", "mask"}
    assert (manifest.table["group"] == "ucsf_pdgm:" + manifest.table["subject"]).all()


def test_ucsf_pdgm_index_matches_follow_ups_by_either_name(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    table = UCSFPDGM(root, follow_ups=True).manifest.table
    exams = table.drop_duplicates(["subject", "session"])
    assert len(exams) == len(truth.scans) + 2
    later = exams[exams["session"] != ""].set_index("subject")["session"].to_dict()
    assert later == {"UCSF-PDGM-0433": "FU007d", "UCSF-PDGM-0391": "FU016d"}
    assert exams["group"].nunique() == len(truth.scans)  # with their first exams


def test_ucsf_pdgm_relative_codeletion_may_count(planted: tuple[Path, Planted]) -> None:
    root, truth = planted
    table = UCSFPDGM(root, target="codeletion", relative_is_codeleted=True).manifest.table
    assert table["subject"].nunique() == len(truth.scans)


def test_ucsf_pdgm_targets_apply_to_a_written_manifest(planted: tuple[Path, Planted], tmp_path: Path) -> None:
    root, _ = planted
    UCSFPDGM(root).manifest.write(tmp_path / "ucsf.csv")
    for target in CLASSES:
        direct = UCSFPDGM(root, target=target).manifest.table  # type: ignore[arg-type]
        read = UCSFPDGM(tmp_path / "ucsf.csv", target=target).manifest.table  # type: ignore[arg-type]
        assert read["path"].tolist() == direct["path"].tolist()


def test_ucsf_pdgm_rejects_wrong_options_and_tables(planted: tuple[Path, Planted], tmp_path: Path) -> None:
    root, _ = planted
    with pytest.raises(DatasetError, match=r"data\.target 'grade': expected idh, mgmt, codeletion"):
        UCSFPDGM(root, target="grade")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"data\.modalities: \['T1'\]; expected some of T1w, T1c"):
        UCSFPDGM(root, modalities=["T1"])
    write_ucsf_pdgm(tmp_path, 1, shape=(8, 8, 8))
    table = tmp_path / "UCSF-PDGM-metadata_v2.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[0][rows[0].index("IDH")] = "IDH status"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(TableError, match=r"no column 'IDH'; found 'ID', 'Sex'"):
        _ = UCSFPDGM(tmp_path).manifest
