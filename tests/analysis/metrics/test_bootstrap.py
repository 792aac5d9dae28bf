"""Test resamples of people."""

import numpy as np

from braindino.analysis.metrics.bootstrap import resample_people


def test_resample_people_redraws_and_counts_draws_without_a_class():
    carries = np.zeros((6, 3), dtype=bool)
    carries[:5, 0] = True
    carries[5, 1] = True  # one person carries class 1, no one class 2
    drawn = resample_people(6, 500, seed=0, carries=carries)
    assert drawn.weights.shape == (500, 6)
    assert (drawn.weights.sum(axis=1) == 6).all()
    assert (drawn.weights[:, 5] > 0).all()
    assert (drawn.weights[:, :5].sum(axis=1) > 0).all()
    # A draw misses the carrier with (5/6)^6 = 0.335: 500 / 0.665 - 500 = 252 redraws are expected.
    assert 180 < drawn.redrawn < 330
