"""The mixed logit against a plain logit, an integral by quadrature, and simulated raters of known log-odds."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t as student

from xcnn.errors import UserError
from xcnn.metrics.mixed_logit import _Likelihood, mixed_logit


def simulated(raters: int, images: int, b: float, s: float, t: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    eta = b + s * generator.standard_normal((raters, 1)) + t * generator.standard_normal((1, images))
    asked = (generator.random(eta.shape) < 0.8).astype(float)
    return (generator.random(eta.shape) < expit(eta)) * asked, asked


def test_raters_and_images_that_are_alike_make_it_a_plain_logit() -> None:
    """Every rater chose the first method in 6 of 8 answers on every image: log 3, with the binomial's error."""
    found = mixed_logit(np.full((5, 4), 6.0), np.full((5, 4), 8.0))
    error = 1 / np.sqrt(160 * 0.75 * 0.25)
    assert (found.rater_sd, found.image_sd) == pytest.approx((0, 0), abs=0.02)
    reach = student.ppf(0.975, 4) * error
    np.testing.assert_allclose(found.log_odds, [np.log(3), np.log(3) - reach, np.log(3) + reach], atol=0.01)
    assert found.answers == 160


@pytest.mark.parametrize(("b", "s"), [(0.3, 0.6), (-1, 1), (0.5, 0)])
def test_likelihood_against_quadrature(b: float, s: float) -> None:
    """Images without an effect: the likelihood is a product over raters of integrals over one normal effect."""
    wins, asked = simulated(8, 120, 0.3, 0.8, 0, 0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    eta = b + s * nodes
    n, k = asked.sum(1)[:, None], wins.sum(1)[:, None]
    logs = k * eta - n * np.logaddexp(0, eta)
    highest = logs.max(1, keepdims=True)
    exact = (highest[:, 0] + np.log(np.exp(logs - highest) @ weights / np.sqrt(2 * np.pi))).sum()
    assert -_Likelihood(wins, asked)(np.array([b, s, 0.0])) == pytest.approx(exact, abs=0.05)


def test_known_log_odds_and_spreads_are_found() -> None:
    found = mixed_logit(*simulated(60, 200, 0.4, 0.7, 0.5, 1))
    assert found.log_odds[0] == pytest.approx(0.4, abs=0.2)
    assert (found.rater_sd, found.image_sd) == pytest.approx((0.7, 0.5), abs=0.12)


def test_raters_who_differ_make_the_interval_wider() -> None:
    def width(s: float) -> float:
        _, low, high = mixed_logit(*simulated(15, 80, 0.4, s, 0.5, 2)).log_odds
        return high - low

    assert width(1) > 2.5 * width(0)


def test_the_other_method_has_the_opposite_odds() -> None:
    wins, asked = simulated(10, 50, 0.6, 0.5, 0.5, 3)
    one, other = mixed_logit(wins, asked), mixed_logit(asked - wins, asked)
    np.testing.assert_allclose(one.log_odds, -np.array(other.log_odds)[[0, 2, 1]], atol=5e-3)


def test_who_was_not_asked_changes_nothing() -> None:
    wins, asked = simulated(6, 30, 0.2, 0.5, 0.5, 4)
    padded = [np.pad(table, ((1, 2), (0, 3))) for table in (wins, asked)]
    np.testing.assert_allclose(mixed_logit(*padded).log_odds, mixed_logit(wins, asked).log_odds, atol=1e-8)


@pytest.mark.parametrize(
    ("wins", "asked", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 2)), "0 <= wins"),
        (np.full((2, 2), 2.0), np.ones((2, 2)), "0 <= wins"),
        (np.ones((1, 3)) / 2, np.ones((1, 3)), "two raters"),
        (np.ones((2, 3)), np.ones((2, 3)), "each method to be chosen"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "each method to be chosen"),
    ],
)
def test_what_cannot_be_fitted(wins: np.ndarray, asked: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mixed_logit(wins, asked)


@pytest.mark.slow
def test_interval_covers() -> None:
    """Nominal 95 %, of 15 raters and 60 images that differ by half a logit."""
    found = [mixed_logit(*simulated(15, 60, 0.4, 0.5, 0.5, seed)).log_odds for seed in range(200)]
    assert 0.9 <= np.mean([low <= 0.4 <= high for _, low, high in found]) <= 0.99
