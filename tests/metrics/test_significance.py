"""Ranks among chance, Holm's adjustment and the binomial band, by hand and by simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from xcnn.errors import UserError
from xcnn.metrics.significance import binomial_band, holm, rank_p


def test_rank_by_hand() -> None:
    chance = np.arange(19.0)
    np.testing.assert_allclose(rank_p([20.0, 18.0, 17.5, 9.0, -1.0], chance), [0.1, 0.2, 0.2, 1.0, 0.1])


def test_rank_of_columns_and_ties() -> None:
    found = rank_p([[1.0, 0.0]], np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_allclose(found, [[1.0, 0.5]])  # three of 4 at or above and 4 of 4 at or below; 1 of 4 below
    with pytest.raises(UserError, match="no draw of chance"):
        rank_p([1.0], [])


def test_rank_is_exact_under_the_null_hypothesis() -> None:
    rng = np.random.default_rng(0)
    draws = rng.standard_cauchy((4000, 40))
    p = np.array([rank_p(each[:1], each[1:])[0] for each in draws])
    for alpha in (0.05, 0.1, 0.5):
        low, high = binomial_band(4000, alpha, 0.999)
        assert low <= (p <= alpha).mean() <= high


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([[0.6, 0.2], [0.01, 0.9]]), [[0.6, 0.4], [0.02, 0.9]])
    np.testing.assert_allclose(holm([[0.6, 0.2], [0.01, 0.9]], axis=1), [[0.6, 0.4], [0.02, 0.9]])


def test_band_holds_its_share() -> None:
    low, high = binomial_band(50, 0.05)
    assert (low, high) == (0.0, 0.12)
    assert binom.cdf(6, 50, 0.05) >= 0.95 > binom.cdf(5, 50, 0.05) - 0.02
