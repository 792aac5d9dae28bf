"""Former place of `braindino.synthetic.files`, for scripts of users that import from it."""

from braindino.synthetic.files import save_nifti, write_csv
from braindino.synthetic.rendering import SyntheticHead

__all__ = ["person", "save_nifti", "write_csv"]


def person(seed: int, number: int, age: float, sex: str, atrophy: float = 0.0) -> SyntheticHead:
    """Return the head of a person; datasets of the package use `SyntheticDataset.person`.

    Args:
        seed: seed of the dataset.
        number: number of the person, a different head for each.
        age: age in years.
        sex: "F" or "M".
        atrophy: 0 for none, 1 as in Alzheimer's disease; at least 0.
    """
    return SyntheticHead(seed * 100_003 + number, age, sex, max(0.0, atrophy))
