"""The fold file of BraTS: its folds as they are, and what is wrong with one."""

import json
from pathlib import Path
from typing import Any

import pytest

from braindino.datasets import BraTSFolds
from braindino.errors import DatasetError
from braindino.scans.contract import Preprocessing
from braindino.synthetic import generator


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fold file of three folds over cases of a synthetic BraTS 2021; one scan is missing."""
    folder = tmp_path_factory.mktemp("folds")
    generator("brats2021")(folder / "data", people=9, sessions=1, shape=(12, 12, 12), seed=1)
    entries: list[dict[str, Any]] = []
    for mask in sorted((folder / "data").rglob("*_seg.nii.gz"))[:9]:
        stem = str(mask.relative_to(folder)).removesuffix("_seg.nii.gz")
        images = [f"{stem}_{name}.nii.gz" for name in ("flair", "t1ce", "t1", "t2")]
        entries.append({"fold": len(entries) % 3, "image": images, "label": f"{stem}_seg.nii.gz"})
    entries[0]["image"][3] = "nowhere/t2.nii.gz"
    (folder / "folds.json").write_text(json.dumps({"training": entries}))
    return folder / "folds.json"


def test_brats_folds_split_by_the_file(folds: Path) -> None:
    data = BraTSFolds(folds, folds.parent / "store", fold=1, prepare=True)
    data.use_contract(Preprocessing(depth=4, size=(8, 8)))
    data.prepare_data()
    data.setup()
    listed = {Path(e["label"]).parent.name: e["fold"] for e in json.loads(folds.read_text())["training"]}
    for row in data.cases.itertuples():
        assert row.split == {1: "test", 2: "val", 0: "train"}[listed[str(row.subject)]]
    assert data.cases["split"].value_counts().to_dict().keys() == {"train", "val", "test"}
    assert "no such file" in data.dropped["reason"].tolist()
    assert set(data.mask_of(int(data.cases.index[0])).ravel()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ({"cases": []}, r'expected \{"training"'),
        (
            {"training": [{"fold": 0, "image": ["a", "b"], "label": "c"}]},
            r"case 0: `image` must list 4 files",
        ),
        ({"training": [{"image": ["a", "b", "c", "d"], "label": "e"}]}, r"case 0: needs `label`"),
        (
            {"training": [{"fold": 1, "image": ["a", "b", "c", "d"], "label": "e"}]},
            "2 folds; three are needed",
        ),
    ],
)
def test_brats_folds_rejects_what_is_no_fold_file(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "folds.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DatasetError, match=message):
        BraTSFolds(file)


def test_brats_folds_rejects_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"folds\.json: no such fold file"):
        BraTSFolds(tmp_path / "folds.json")


def test_brats_folds_rejects_a_missing_fold(folds: Path) -> None:
    with pytest.raises(DatasetError, match=r"data.fold 3: .* has the folds 0 to 2"):
        BraTSFolds(folds, fold=3)
