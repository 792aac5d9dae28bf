"""Files that a study writes beside its numbers: its cases, patch colours and example slices."""
