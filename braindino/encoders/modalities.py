"""Map the modality names of datasets to MRI sequences."""

import re

BRATS_SEQUENCES = ("t1", "t1ce", "t2", "flair")  # BraTS's four, as its files of 2021 name them
_SPELLINGS = {
    "t1": ("t1", "t1w", "t1n", "t1wi", "t1weighted", "t1native", "mprage"),
    "t1ce": ("t1ce", "t1c", "t1gd", "t1gad", "t1post", "t1contrast", "ce"),
    "t2": ("t2", "t2w", "t2wi", "t2weighted"),
    "flair": ("flair", "t2flair", "t2f", "fla", "flairw"),
}
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def brats_sequence(modality: str) -> str | None:
    """Return the sequence of a modality, one of `t1`, `t1ce`, `t2`, `flair`; None if unknown.

    Only letters and digits count, in either case: `T2-FLAIR` is `t2flair`.

    Args:
        modality: name of a modality, such as `T1w`, `T1GD`, `FLAIR`.
    """
    return _NAMES.get(re.sub(r"[^a-z0-9]", "", modality.lower()))
