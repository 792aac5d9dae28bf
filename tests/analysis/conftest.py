"""Settings of the tests of this room."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def settled():
    """Holm's adjustment in statsmodels collects garbage: a second each time beside a loaded torch."""
    gc.freeze()
    yield
    gc.unfreeze()
