"""One name per sequence."""

import pytest

from braindino.encoders.modalities import SEQUENCES, sequence_of


@pytest.mark.parametrize(
    ("modality", "name"),
    [("T1w", "t1"), ("t1n", "t1"), ("T1", "t1"), ("t1c", "t1ce"), ("T1-GD", "t1ce"), ("T1CE", "t1ce"),
     ("T2w", "t2"), ("t2f", "flair"), ("T2-FLAIR", "flair"), ("FLAIR", "flair"), ("PET", None), ("", None)],
)  # fmt: skip
def test_whatever_a_dataset_calls_it(modality: str, name: str | None) -> None:
    assert sequence_of(modality) == name


def test_every_name_is_its_own() -> None:
    assert [sequence_of(name) for name in SEQUENCES] == list(SEQUENCES)
