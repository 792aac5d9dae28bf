import pytest

from braindino.datasets.brats_names import person_of_brats


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("BraTS2021_00001", "brats2021:00001"),
        ("BraTS2021_00758", "brats2021:00626"),
        ("BraTS-GLI-00002-001", "brats2023:GLI-00002"),
        ("BraTS-GoAT-00003", "brats2024_goat:00003"),
        ("sub-01", None),
    ],
)
def test_person_of_brats_parses_every_edition(name: str, person: str | None) -> None:
    assert person_of_brats(name) == person
