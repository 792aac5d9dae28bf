import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from braindino.cli.index import index
from braindino.cli.prepare import prepare
from braindino.datasets import DATASETS
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError
from braindino.scans.dicom.series import Series
from braindino.synthetic.adni import write_adni
from braindino.synthetic.files import save_nifti
from braindino.synthetic.rendering import SyntheticHead, render


def test_index_prints_counts_and_writes_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = write_adni(tmp_path / "d", people=9, shape=(8, 8, 8))
    assert index(tmp_path / "d", "adni", tmp_path / "adni.csv") == 0
    printed = capsys.readouterr().out
    assert f"adni: {len(planted.scans)} scans" in printed
    for reason, count in planted.dropped.items():
        assert f"{count:>8}  {reason}" in printed
    labels = [scan["diagnosis"] for scan in planted.scans]
    assert ", ".join(f"{name} {labels.count(name)}" for name in ("CN", "MCI", "AD")) in printed
    assert len(Manifest.read(tmp_path / "adni.csv").table) == len(planted.scans)
    assert len(Manifest.read(tmp_path / "adni.csv").dropped) == sum(planted.dropped.values())


def test_index_names_the_nearest_dataset(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="Did you mean 'adni'"):
        index(tmp_path, "adnl")


@pytest.mark.parametrize("dataset", ["adni", "folder", "bids"])
def test_index_of_a_wrong_folder_raises_one_error(tmp_path: Path, dataset: str) -> None:
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


def test_index_converts_dicom_beside_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(folders: list[Path], root: Path, out: Path) -> list[Series]:
        converted.extend(folders)
        for folder in folders:
            save_nifti(
                out / folder.relative_to(root) / "T1_2_ab.nii.gz", render(SyntheticHead(0), shape=(8, 8, 8))
            )
        made = Series(str(folders[0]), "1.2", "2", "T1", "", "P1/study/T1_2_ab.nii.gz", "", "")
        return [made, Series(str(folders[1]), "", "", "", "", "", "", "no valid DICOM")]

    converted: list[Path] = []
    monkeypatch.setattr("braindino.datasets.discovery.convert_series", convert)
    root = tmp_path / "data"
    for name in ("P1/study/IM0001", "P2/x.dcm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(128) + b"DICM")
    save_nifti(root / "P3" / "T1.nii.gz", render(SyntheticHead(1), shape=(8, 8, 8)))
    out = root / "m.csv"  # inside the tree: what was converted is not found a second time
    for _ in range(2):
        converted.clear()
        assert index(root, "folder", out) == 0
        assert sorted(converted) == [root / "P1" / "study", root / "P2"]
        manifest = Manifest.read(out)
        assert manifest.table["subject"].tolist() == ["P1", "P3"]
        assert manifest.table["modality"].tolist() == ["T1w", "T1w"]
        assert manifest.table["path"][0] == str(root / "m_nifti" / "P1" / "study" / "T1_2_ab.nii.gz")
        assert manifest.dropped["reason"].tolist() == ["DICOM: no valid DICOM"]
    (root / "P3" / "T1.nii.gz").unlink()
    monkeypatch.setattr("braindino.datasets.discovery.convert_series", lambda *_: [])
    with pytest.raises(
        BraindinoError, match=r"none of 2 folders of DICOM gave a volume: .*\nSee .*series\.csv"
    ):
        index(root, "folder", out)
    save_nifti(root / "P3" / "T1.nii.gz", render(SyntheticHead(1), shape=(8, 8, 8)))
    assert index(root, "folder", out, {"dicom": None}) == 0
    assert Manifest.read(out).dropped["reason"].str.startswith("DICOM series; convert").sum() == 2


# In place of dcm2niix: a "slice" of these tests carries a whole NIfTI file after its mark.
CONVERTER = """#!{python}
import gzip, json, sys
from pathlib import Path
folder, out = Path(sys.argv[-1]), Path(sys.argv[sys.argv.index("-o") + 1])
content = sorted(folder.glob("*.dcm"))[0].read_bytes()[132:]
(out / "x.nii.gz").write_bytes(gzip.compress(content))
facts = dict(SeriesInstanceUID=folder.name, SeriesDescription="MPRAGE", PatientID="Doe")
(out / "x.json").write_text(json.dumps(facts))
"""


def test_index_labels_a_dicom_archive_of_adni_as_its_nifti(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "dcm2niix"
    program.parent.mkdir()
    program.write_text(CONVERTER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    root = tmp_path / "d"
    write_adni(root, people=6, shape=(8, 8, 8))
    assert index(root, "adni", tmp_path / "nifti.csv") == 0
    for number, nifti in enumerate(sorted(root.rglob("*.nii"))):
        slices = [nifti.with_suffix(".dcm")] * 2
        if number % 3:  # old archives: the image's number is in the folder's name alone
            slices = [nifti.with_name(f"{k}.dcm") for k in range(2)]
        for file in slices:
            file.write_bytes(bytes(128) + b"DICM" + nifti.read_bytes())
        nifti.unlink()
    out = tmp_path / "dicom.csv"
    assert index(root, "adni", out) == 0
    before, after = (Manifest.read(tmp_path / name) for name in ("nifti.csv", "dicom.csv"))
    pd.testing.assert_frame_equal(before.table.drop(columns="path"), after.table.drop(columns="path"))
    assert sorted(before.dropped["reason"]) == sorted(after.dropped["reason"])
    series = pd.read_csv(tmp_path / "dicom_nifti" / "series.csv").set_index("output")
    for path, session in zip(after.table["path"], after.table["session"], strict=True):
        source = series["source"][Path(path).relative_to(tmp_path / "dicom_nifti").as_posix()]
        assert session in source
    # Masks, scouts and FLAIR are recognised by their folders and not converted.
    assert (
        len(series) == len(after.table) + before.dropped["reason"].str.contains("preferred|diagnosis").sum()
    )
    assert prepare(out, tmp_path / "store", depth=4, size=8) == 0


def test_index_as_a_command_imports_neither_torch_nor_lightning(tmp_path: Path) -> None:
    """Both cost 4 s of processor and 800 MB, and listing files needs none of it."""
    save_nifti(tmp_path / "in" / "p1" / "T1.nii.gz", render(SyntheticHead(1), shape=(8, 8, 8)))
    code = (
        "import sys; from braindino.cli.main import main; "
        f"sys.argv = ['braindino', 'index', {str(tmp_path / 'in')!r}, '--out', {str(tmp_path / 'm.csv')!r}]; "
        "assert main() == 0; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1 scans" in done.stdout
    assert not {"torch", "lightning", "sklearn", "monai"} & set(done.stdout.split())


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_dataset_class_imports_no_torch_when_listing_only(name: str) -> None:
    code = (
        "import sys; from braindino import datasets; from braindino.datasets.listing import list_only; "
        f"list_only(); datasets.dataset_class({name!r}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning"} & set(done.stdout.split())
