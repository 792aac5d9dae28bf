"""Test principal components against scikit-learn, and that colours mean the same in every slice."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from braindino.analysis.principal_components import principal_colours, principal_components


@pytest.mark.parametrize("shape", [(200, 12), (10, 30)])
def test_principal_components_equal_scikit_learn(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).standard_normal(shape) * np.arange(1, shape[1] + 1)
    expected = PCA(3, whiten=True).fit_transform(values) * np.sqrt(shape[0] / (shape[0] - 1))
    components = principal_components(values)
    signs = np.sign((components * expected).sum(axis=0))
    np.testing.assert_allclose(components * signs, expected, atol=1e-4)
    np.testing.assert_allclose(components.var(axis=0), 1, atol=1e-5)


def test_principal_components_of_constants_are_zero() -> None:
    assert not principal_components(np.full((9, 5), 7.3)).any()
    line = np.outer(np.arange(9.0), np.ones(5)) + 100
    components = principal_components(line)
    assert np.allclose(np.abs(np.corrcoef(components[:, 0], np.arange(9))[0, 1]), 1)
    assert not components[:, 1:].any()
    assert principal_components(np.ones((4, 2))).shape == (4, 3)


def test_principal_colours_are_equal_for_equal_features_and_black_outside() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((4, 20)).astype(np.float32)
    labels = rng.integers(0, 4, (3, 8, 8))
    foreground = rng.random((3, 8, 8)) < 0.7
    tokens = kinds[labels]
    tokens[~foreground] = 100.0  # would dominate if it counted
    colours = principal_colours(tokens, foreground)
    assert colours.shape == (3, 8, 8, 3)
    assert not colours[~foreground].any()
    means = np.stack([colours[foreground & (labels == k)].mean(axis=0) for k in range(4)])
    for k in range(4):
        assert np.abs(colours[foreground & (labels == k)] - means[k]).max() < 1e-4
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1)
    assert distances[~np.eye(4, dtype=bool)].min() > 0.2
    # The first component is the direction of largest variance, up to its sign.
    centred = tokens[foreground] - tokens[foreground].mean(axis=0)
    first = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    assert abs(np.corrcoef(first, colours[foreground][:, 0])[0, 1]) > 0.999


def test_principal_colours_of_an_empty_foreground_are_finite() -> None:
    colours = principal_colours(np.ones((2, 4, 4, 5), np.float32), np.zeros((2, 4, 4), bool))
    assert np.isfinite(colours).all()
