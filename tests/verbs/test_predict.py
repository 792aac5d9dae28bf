from pathlib import Path

import pytest

import braindino
from braindino.errors import BraindinoError


def test_predict_refuses_an_unknown_check_before_it_opens_anything(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="--accept skull: expected one of modality"):
        braindino.predict(tmp_path / "scan.nii.gz", tmp_path / "run", tmp_path / "out", accept=["skull"])
    assert list(tmp_path.iterdir()) == []


def test_predict_refuses_a_folder_without_a_probe(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="no finished probe there"):
        braindino.predict([tmp_path / "scan.nii.gz"], tmp_path, tmp_path / "out", device="cpu")
