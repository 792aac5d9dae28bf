"""Packages are judged by their metadata: missing, too old, damaged, optional."""

import tomllib
from pathlib import Path

import pytest

from braindino.cli.doctor import software
from braindino.cli.doctor.checks import Outcome
from tests.helpers.documents import ROOT


def only(*requirements: str) -> Outcome:
    (found,) = software.packages(requirements)
    return found


def test_what_this_environment_has_passes() -> None:
    found = {outcome.name: outcome for outcome in software.packages()}
    assert found["numpy"].status == "PASS"
    assert "pytest" not in found  # of who develops it
    assert [next(iter(software.python())).status, next(iter(software.package())).status] == ["PASS", "PASS"]


def test_every_extra_of_users_is_looked_at() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) - {"dev", "docs", "dicom"} == set(software.EXTRAS)


def test_missing() -> None:
    outcome = only("no-such-package>=1.2")
    assert (outcome.status, outcome.found) == ("FAIL", "not installed")
    assert outcome.remedy == "pip install 'no-such-package>=1.2'"


def test_too_old() -> None:
    outcome = only("numpy>=99")
    assert outcome.status == "FAIL"
    assert outcome.found.endswith("expected >=99")


def test_optional_is_a_warning() -> None:
    outcome = only('no-such-package; extra == "tensorboard"')
    assert outcome.status == "WARN"
    assert outcome.remedy == "pip install 'braindino[tensorboard]'"


def test_for_another_platform_is_not_asked_for() -> None:
    assert not list(software.packages(['no-such-package; sys_platform == "nowhere"']))


@pytest.mark.parametrize(
    "metadata", ["Name: damaged\n", "Name: damaged\nVersion: \n", "Name: damaged\nVersion: ?\n"]
)
def test_damaged_metadata(metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "damaged-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = only("damaged>=1")
    assert outcome.status == "FAIL"
    assert outcome.found.startswith("damaged")
    assert "--force-reinstall" in outcome.remedy


def test_no_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> dict[str, Path]:
        raise StopIteration

    monkeypatch.setattr(software, "shipped_configs", none)
    (outcome,) = software.package()
    assert outcome.status == "FAIL"
