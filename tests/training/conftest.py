"""The cohort and the encoder of the command's tests."""

from tests.helpers.cohort import cohort, encoder

__all__ = ["cohort", "encoder"]
