"""Fixtures of the tests of this room."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def frozen_garbage():
    """Freeze live objects: statsmodels' Holm collects garbage, a second per call if torch is loaded."""
    gc.freeze()
    yield
    gc.unfreeze()
