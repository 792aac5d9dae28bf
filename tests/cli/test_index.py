from pathlib import Path

import pytest

from braindino.cli.index import index
from braindino.datasets.manifest import Manifest
from braindino.datasets.synthetic.adni import write_adni
from braindino.datasets.synthetic.files import save_nifti
from braindino.datasets.synthetic.heads import Head, render
from braindino.errors import BraindinoError
from braindino.scans.dicom import Series


def test_counts_are_printed_and_the_manifest_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = write_adni(tmp_path / "d", people=9, shape=(8, 8, 8))
    assert index(tmp_path / "d", "adni", tmp_path / "adni.csv") == 0
    said = capsys.readouterr().out
    assert f"adni: {len(planted.scans)} scans" in said
    for reason, count in planted.dropped.items():
        assert f"{count:>8}  {reason}" in said
    labels = [scan["diagnosis"] for scan in planted.scans]
    assert ", ".join(f"{name} {labels.count(name)}" for name in ("CN", "MCI", "AD")) in said
    assert len(Manifest.read(tmp_path / "adni.csv").table) == len(planted.scans)
    assert len(Manifest.read(tmp_path / "adni.csv").dropped) == sum(planted.dropped.values())


def test_an_unknown_dataset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="Did you mean 'adni'"):
        index(tmp_path, "adnl")


@pytest.mark.parametrize("dataset", ["adni", "folder", "bids"])
def test_a_wrong_folder_is_one_clear_error(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "ADNIMERGE.csv").write_text("PTID,EXAMDATE,DX\n")
    with pytest.raises(BraindinoError) as caught:
        index(tmp_path, dataset)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "Looked for" in message
    assert "ADNIMERGE.csv, notes/" in message
    assert message.count("\n") <= 2
    with pytest.raises(BraindinoError, match="no such folder"):
        index(tmp_path / "nowhere", dataset)


def test_dicom_is_converted_beside_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(folders: list[Path], root: Path, out: Path) -> list[Series]:
        asked.extend(folders)
        for folder in folders:
            save_nifti(out / folder.relative_to(root) / "T1_2_ab.nii.gz", render(Head(0), shape=(8, 8, 8)))
        made = Series(str(folders[0]), "1.2", "2", "T1", "", "P1/study/T1_2_ab.nii.gz", "", "")
        return [made, Series(str(folders[1]), "", "", "", "", "", "", "no valid DICOM")]

    asked: list[Path] = []
    monkeypatch.setattr("braindino.datasets.folder.convert_series", convert)
    root = tmp_path / "data"
    for name in ("P1/study/IM0001", "P2/x.dcm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(128) + b"DICM")
    save_nifti(root / "P3" / "T1.nii.gz", render(Head(1), shape=(8, 8, 8)))
    out = root / "m.csv"  # inside the tree: what was converted is not found a second time
    for _ in range(2):
        asked.clear()
        assert index(root, "folder", out) == 0
        assert sorted(asked) == [root / "P1" / "study", root / "P2"]
        manifest = Manifest.read(out)
        assert manifest.table["subject"].tolist() == ["P1", "P3"]
        assert manifest.table["modality"].tolist() == ["T1w", "T1w"]
        assert manifest.table["path"][0] == str(root / "m_nifti" / "P1" / "study" / "T1_2_ab.nii.gz")
        assert manifest.dropped["reason"].tolist() == ["DICOM: no valid DICOM"]
    (root / "P3" / "T1.nii.gz").unlink()
    monkeypatch.setattr("braindino.datasets.folder.convert_series", lambda *_: [])
    with pytest.raises(BraindinoError, match=r"none of 2 folders of DICOM gave a volume; see .*series\.csv"):
        index(root, "folder", out)
    save_nifti(root / "P3" / "T1.nii.gz", render(Head(1), shape=(8, 8, 8)))
    assert index(root, "folder", out, {"dicom": None}) == 0
    assert Manifest.read(out).dropped["reason"].str.startswith("DICOM series; convert").sum() == 2
