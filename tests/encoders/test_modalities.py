"""One name per sequence."""

import pytest

from braindino.encoders.modalities import BRATS_SEQUENCES, brats_sequence


@pytest.mark.parametrize(
    ("modality", "name"),
    [("T1w", "t1"), ("t1n", "t1"), ("T1", "t1"), ("t1c", "t1ce"), ("T1-GD", "t1ce"), ("T1CE", "t1ce"),
     ("T2w", "t2"), ("t2f", "flair"), ("T2-FLAIR", "flair"), ("FLAIR", "flair"), ("PET", None), ("", None)],
)  # fmt: skip
def test_brats_sequence_reads_the_spellings_of_datasets(modality: str, name: str | None) -> None:
    assert brats_sequence(modality) == name


def test_brats_sequence_returns_its_names_unchanged() -> None:
    assert [brats_sequence(name) for name in BRATS_SEQUENCES] == list(BRATS_SEQUENCES)
