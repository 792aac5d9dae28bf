"""Test cosine similarity and CKA against the kernel formula of the paper and hand-computed values."""

import numpy as np
import pytest

from braindino.analysis.similarity import cosine_to, linear_cka


def hsic_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. 2019, eq. 1 and 2: HSIC of linear kernels, normalised."""
    n = len(x)
    centre = np.eye(n) - np.ones((n, n)) / n

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        return float(np.trace(k @ centre @ other @ centre)) / (n - 1) ** 2

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


@pytest.mark.parametrize("shape", [(40, 5, 9), (12, 30, 20), (20, 40, 3)])
def test_linear_cka_is_the_normalised_hsic(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape[:2]) + 3, rng.standard_normal((shape[0], shape[2])) - 1
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x, y), abs=1e-10)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x), abs=1e-12)


def test_linear_cka_of_single_features_is_the_squared_correlation() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(50)
    y = x + rng.standard_normal(50)
    assert linear_cka(x[:, None], y[:, None]) == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    # x against (x, z), z orthogonal to x and as long: the products are n^2, n, and n sqrt(2).
    ones = np.array([1.0, -1, 1, -1])
    both = np.stack([ones, np.array([1.0, 1, -1, -1])], axis=1)
    assert linear_cka(ones[:, None], both) == pytest.approx(1 / np.sqrt(2))


def test_linear_cka_ignores_rotation_and_scale() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 6))
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert linear_cka(x, 7 * x @ turn + 4) == pytest.approx(1)
    assert np.isnan(linear_cka(x, np.ones((30, 2))))
    with pytest.raises(ValueError, match="30 and 29 items"):
        linear_cka(x, x[:29])


def test_cosine_to_broadcasts() -> None:
    tokens = np.array([[[1, 0], [3, 3]], [[0, 2], [0, 0]]], float)
    np.testing.assert_allclose(cosine_to(tokens, [2, 0]), [[1.0, 0.5**0.5], [0.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(cosine_to(tokens, tokens[:, :1]), [[1.0, 0.5**0.5], [1.0, 0.0]], atol=1e-6)
