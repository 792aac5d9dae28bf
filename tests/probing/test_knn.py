import pandas as pd
import pytest

from braindino.errors import BraindinoError
from braindino.probing.knn import labelled_scans


def manifest(*labels: str) -> pd.DataFrame:
    rows = [
        {"dataset": "d", "subject": f"p{i}", "session": "", "modality": "T1w", "path": f"{i}.nii"}
        | {"group": f"d:p{i}", "site": "", "sex": "", "age": 30.0, "grade": label}
        for i, label in enumerate(labels)
    ]
    return pd.DataFrame(rows)


def test_labelled_scans_takes_a_word_for_a_class_only_if_it_is_listed() -> None:
    table = manifest(*["none", "low", "high"] * 6)
    assert set(labelled_scans(table, "grade", 0.5, 0, "m.csv")["label"]) == {"low", "high"}
    listed = labelled_scans(table, "grade", 0.5, 0, "m.csv", ["none", "low"])
    assert set(listed["label"]) == {"none", "low"}
    table = manifest(*["no", "yes"] * 6)
    assert set(labelled_scans(table, "grade", 0.5, 0, "m.csv", [False, True])["label"]) == {"no", "yes"}


def test_labelled_scans_refuses_classes_that_look_alike() -> None:
    table = manifest(*["Good", "good", "Good\u200b"] * 6)
    with pytest.raises(BraindinoError, match=r"'Good', 'Good<U\+200B>', 'good', which look like one class"):
        labelled_scans(table, "grade", 0.5, 0, "m.csv")
    assert len(labelled_scans(table, "grade", 0.5, 0, "m.csv", ["Good", "good"])) == 12
