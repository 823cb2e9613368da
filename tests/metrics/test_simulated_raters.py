"""Simulated raters: they have the preference that was asked for, and only the two-way interval covers it."""

import numpy as np
import pytest

from xcnn.errors import UserError
from xcnn.metrics.simulated_raters import (
    Design,
    covers,
    logits_of,
    preference_of,
    simulate,
    simulate_scores,
    simulated_votes,
    width,
)

PAPER = np.array([40.25, 78.50, 115.75, 15.50]) / 250
SHARE, LEAD = [0, 0, 1, 0], [0, -1, 1, 0]
CONTRASTS = np.array([SHARE, LEAD], float)


def test_logits_have_the_preference() -> None:
    logits = logits_of(PAPER, 0.5, 1)
    np.testing.assert_allclose(preference_of(logits, 0.5, 1), PAPER, atol=1e-6)
    np.testing.assert_allclose(preference_of(logits, 0.5, 1, seed=1), PAPER, atol=0.01)
    np.testing.assert_allclose(logits_of(PAPER, 0, 0), np.log(PAPER) - np.log(PAPER).mean())


def test_design_is_kept() -> None:
    votes = simulated_votes(np.zeros(4), Design(15, 100, 4), 0, 0, np.random.default_rng(0))
    assert votes.shape == (15, 100, 4)
    assert (votes.sum((0, 2)) == 4).all() and votes.sum(2).max() == 1
    some = simulated_votes(np.zeros(4), Design(15, 100, 4, answered=0.5), 0, 0, np.random.default_rng(0))
    assert 150 < some.sum() < 250
    with pytest.raises(UserError, match="per_image"):
        Design(3, 10, 4)


def test_only_the_two_way_interval_covers_where_raters_differ() -> None:
    """Nominal 95 %: raters with a standard deviation of .5 logit break the interval over images alone."""
    found = simulate(logits_of(PAPER, 0.5, 0), CONTRASTS, Design(15, 80, 15), 0.5, 0, studies=80, n_resamples=200)
    images, both = covers(found.over_images, found.truth), covers(found.over_both, found.truth)
    assert (images < 0.75).all()
    assert (both > 0.86).all() and (both <= 1).all()
    np.testing.assert_allclose(found.truth, CONTRASTS @ PAPER, atol=1e-6)


def test_both_intervals_cover_where_raters_are_alike() -> None:
    found = simulate(logits_of(PAPER, 0, 0), CONTRASTS, Design(15, 80, 15), 0, 0, studies=60, n_resamples=200)
    assert (covers(found.over_images, found.truth) > 0.85).all()
    assert (covers(found.over_both, found.truth) > 0.9).all()


def test_raters_buy_more_than_images() -> None:
    logits = logits_of(PAPER, 0.5, 0.5)
    raters, images = (
        width(simulate(logits, CONTRASTS, Design(*size, size[0]), 0.5, 0.5, studies=20, n_resamples=100).over_both)
        for size in ((40, 60), (10, 240))
    )
    assert (raters < 0.9 * images).all()


def test_scores_have_the_mean_and_only_the_two_way_interval_covers_it() -> None:
    found = simulate_scores(1.48, Design(15, 60, 15), 0.5, 0.3, 0.7, studies=80, n_resamples=200)
    assert found.estimates.mean() == pytest.approx(1.48, abs=0.03)
    assert covers(found.over_images, found.truth) < 0.75
    assert covers(found.over_both, found.truth) > 0.86
