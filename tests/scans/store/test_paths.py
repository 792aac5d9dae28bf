"""Check the message for a store that does not exist."""

from pathlib import Path

import pytest

from braindino.scans.store.paths import no_store, stores_near


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    """Make a folder with three stores and one other folder."""
    for name in ("study_store", "store_3d", "inner/store"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "contract.json").write_text("{}")
    (tmp_path / "stor").mkdir()
    return tmp_path


def test_stores_near_lists_the_nearest_name_first(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stores / "inner" / "store")
    assert stores_near(stores / "study_stor")[0] == stores / "study_store"
    near = [stores / name for name in ("inner/store", "store_3d", "study_store")]
    assert stores_near(stores / "inner") == near
    assert stores_near(stores / "iner" / "store") != []
    assert stores_near(Path("/no/such/folder")) == []


def test_no_store_names_path_stores_and_remedies(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stores)
    first, second = no_store("study_stor", "`--prepare` makes it").splitlines()
    assert first == "study_stor: no store there (no contract.json). Stores near by: study_store, store_3d."
    assert second == "`braindino prepare MANIFEST --store study_stor` makes one; `--prepare` makes it."
