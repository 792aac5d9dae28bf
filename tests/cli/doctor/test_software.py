"""Check packages by their metadata: missing, too old, damaged, optional."""

import tomllib
from pathlib import Path

import pytest

from braindino.cli.doctor import software
from braindino.cli.doctor.checks import Outcome
from tests.helpers.documents import ROOT


def only(*requirements: str) -> Outcome:
    (outcome,) = software.packages(requirements)
    return outcome


def test_packages_pass_in_this_environment() -> None:
    outcomes = {outcome.name: outcome for outcome in software.packages()}
    assert outcomes["numpy"].status == "PASS"
    assert "pytest" not in outcomes  # only for development
    assert [next(iter(software.python())).status, next(iter(software.package())).status] == ["PASS", "PASS"]


def test_packages_check_every_extra_of_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) - {"dev", "docs", "dicom"} == set(software.EXTRAS)


def test_packages_fail_if_missing() -> None:
    outcome = only("no-such-package>=1.2")
    assert (outcome.status, outcome.detail) == ("FAIL", "not installed")
    assert outcome.remedy == "pip install 'no-such-package>=1.2'"


def test_packages_fail_if_too_old() -> None:
    outcome = only("numpy>=99")
    assert outcome.status == "FAIL"
    assert outcome.detail.endswith("expected >=99")


def test_packages_warn_if_optional() -> None:
    outcome = only('no-such-package; extra == "tensorboard"')
    assert outcome.status == "WARN"
    assert outcome.remedy == "pip install 'braindino[tensorboard]'"


def test_packages_skip_other_platforms() -> None:
    assert not list(software.packages(['no-such-package; sys_platform == "nowhere"']))


@pytest.mark.parametrize(
    "metadata", ["Name: damaged\n", "Name: damaged\nVersion: \n", "Name: damaged\nVersion: ?\n"]
)
def test_packages_fail_with_damaged_metadata(
    metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "damaged-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = only("damaged>=1")
    assert outcome.status == "FAIL"
    assert outcome.detail.startswith("damaged")
    assert "--force-reinstall" in outcome.remedy


def test_package_fails_without_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> dict[str, Path]:
        raise StopIteration

    monkeypatch.setattr(software, "shipped_configs", none)
    (outcome,) = software.package()
    assert outcome.status == "FAIL"
