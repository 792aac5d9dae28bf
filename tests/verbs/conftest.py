"""The cohort and the encoder of the tests of verbs."""

from tests.helpers.cohort import cohort, encoder

__all__ = ["cohort", "encoder"]
