"""The bootstrap against scipy's, which draws the same images from the same seed, and against the standard error."""

import numpy as np
import pytest
from scipy import stats

from xcnn.errors import UserError
from xcnn.metrics import bootstrap
from xcnn.metrics.bootstrap import (
    bootstrap_means,
    interval,
    paired_difference,
    percentiles,
    two_way_bootstrap_means,
)

NAN = np.nan


def values(n: int = 40, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(1).gamma(0.5, size=(n, columns)) * [1, 20, 0.01][:columns]


@pytest.mark.parametrize("chunk", [1, 95, 10**6])  # a resample, two, or all at a time
def test_means_and_interval_are_scipys(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", chunk)
    theirs = stats.bootstrap(
        (values(),), np.mean, n_resamples=301, confidence_level=0.9, method="percentile", rng=np.random.default_rng(7)
    )
    means = bootstrap_means(values(), n_resamples=301, seed=7)
    np.testing.assert_allclose(means, theirs.bootstrap_distribution.T, rtol=1e-12)
    ours = interval(values(), n_resamples=301, seed=7, level=0.9)
    np.testing.assert_allclose(ours.mean, values().mean(0), rtol=1e-12)
    np.testing.assert_allclose(ours.low, theirs.confidence_interval.low, rtol=1e-12)
    np.testing.assert_allclose(ours.high, theirs.confidence_interval.high, rtol=1e-12)


def test_spread_is_the_standard_error() -> None:
    sample = values(400)
    error = sample.std(0) / np.sqrt(400)
    np.testing.assert_allclose(bootstrap_means(sample, 4000).std(0), error, rtol=0.05)
    low, high = interval(sample, 4000)[1:]
    np.testing.assert_allclose((high - low) / 2, 1.96 * error, rtol=0.08)


def test_undefined_values_are_left_out_of_each_resample() -> None:
    sample = values()
    sample[3:30, 1] = NAN
    means = bootstrap_means(sample, n_resamples=50, seed=2)
    drawn = np.random.default_rng(2).integers(0, 40, (50, 40))
    np.testing.assert_allclose(means, np.nanmean(sample[drawn], axis=1), rtol=1e-12)
    assert interval(sample).mean[1] == pytest.approx(np.nanmean(sample[:, 1]))


@pytest.mark.filterwarnings("error")  # what is undefined is no reason to warn
def test_resamples_and_columns_without_a_defined_value() -> None:
    sample = np.array([[NAN, 5, 1], [NAN, NAN, 2], [NAN, NAN, 3]])
    means = bootstrap_means(sample, 2000)
    assert np.isnan(means[:, 0]).all()
    assert np.isnan(means[:, 1]).mean() == pytest.approx((2 / 3) ** 3, abs=0.04)
    result = interval(sample)
    np.testing.assert_array_equal(result.mean, [NAN, 5, 2])
    np.testing.assert_array_equal(result.low[:2], [NAN, 5])
    np.testing.assert_array_equal(result.high[:2], [NAN, 5])


def test_resamples_are_shared_by_columns_and_calls_and_follow_the_seed() -> None:
    sample = values()
    both = bootstrap_means(np.hstack([sample, 2 * sample + 1]), 100)
    np.testing.assert_allclose(both[:, 3:], 2 * both[:, :3] + 1, rtol=1e-12)
    np.testing.assert_allclose(bootstrap_means(sample[:, 0], 100), both[:, 0], rtol=1e-12)
    np.testing.assert_allclose(bootstrap_means(sample, 10), both[:10, :3], rtol=1e-12)
    assert not np.allclose(bootstrap_means(sample, 100, seed=1), both[:, :3])


def test_any_trailing_shape() -> None:
    sample = values(24).reshape(12, 2, 3)
    flat = bootstrap_means(sample.reshape(12, 6), 30)
    np.testing.assert_array_equal(bootstrap_means(sample, 30), flat.reshape(30, 2, 3))
    assert interval(sample).low.shape == (2, 3)
    assert np.shape(interval(sample[:, 0, 0] > 0.1).mean) == ()  # booleans are shares


def test_paired_difference_sees_what_separate_intervals_hide() -> None:
    easy = np.random.default_rng(0).normal(0, 10, 200)  # images differ much, methods little
    noise = np.random.default_rng(1).normal(0, 0.1, 200)
    a, b = easy + 0.1 + noise, easy
    assert interval(a).low < interval(b).mean < interval(a).high
    difference = paired_difference(a, b)
    assert difference.mean == pytest.approx((a - b).mean())
    assert difference.low > 0
    assert difference.p == pytest.approx(2 / 2001)  # none of the resamples is below 0
    np.testing.assert_allclose(difference[1:3], interval(a - b)[1:], rtol=1e-9)


def test_p_by_hand_and_about_the_t_tests() -> None:
    # Of the 4 equally likely resamples of (-1, 3), the means are -1, 1, 1, 3: a quarter is at or below 0.
    assert paired_difference([0, 3], [1, 0], n_resamples=20_000).p == pytest.approx(0.5, abs=0.02)
    assert paired_difference([1, 2], [1, 2]).p == 1
    a, b = np.random.default_rng(5).normal([0.2, 0], 1, (100, 2)).T
    assert paired_difference(a, b, 20_000).p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_pairs_need_both() -> None:
    a = np.array([[5.0, NAN], [NAN, NAN], [2, NAN]])
    b = np.array([[1.0, 1], [4, 1], [NAN, 1]])
    difference = paired_difference(a, b)
    np.testing.assert_array_equal(difference.mean, [4, NAN])
    assert np.isnan([difference.p[1], difference.low[1], difference.high[1]]).all()


def test_refusals() -> None:
    with pytest.raises(UserError, match="no images"):
        bootstrap_means(np.empty((0, 3)))
    with pytest.raises(UserError, match="pass NaN"):
        bootstrap_means([1, np.inf])
    with pytest.raises(UserError, match="n_resamples"):
        bootstrap_means([1, 2], n_resamples=0)
    with pytest.raises(UserError, match=r"\(0, 1\)"):
        percentiles(np.ones(3), level=95)
    with pytest.raises(UserError, match="same images"):
        paired_difference([1, 2], [[1, 2], [3, 4]])


# Over raters and images


def test_two_way_resamples_are_of_raters_and_images() -> None:
    """Against the definition, resample by resample, with answers missing."""
    generator = np.random.default_rng(0)
    values = generator.random((4, 6, 2))
    values[generator.random((4, 6)) < 0.4] = np.nan
    drawn = np.random.default_rng(7)
    raters, images = drawn.multinomial(4, [1 / 4] * 4, 50), drawn.multinomial(6, [1 / 6] * 6, 50)
    expected = []
    for of_raters, of_images in zip(raters, images, strict=True):
        resample = np.repeat(np.repeat(values, of_raters, 0), of_images, 1)
        answered = ~np.isnan(resample).all((0, 2))
        expected.append(np.nanmean(resample[:, answered], 0).mean(0))
    np.testing.assert_allclose(two_way_bootstrap_means(values, 50, 7), expected)


def test_two_way_variance_of_the_identity() -> None:
    """Raters who say the same of all images: the resamples' variance is that of a mean of raters (Owen 2007)."""
    raters = np.random.default_rng(0).random(10)
    means = two_way_bootstrap_means(np.repeat(raters[:, None], 30, 1), 20_000)
    assert means.var() == pytest.approx(raters.var() / 10, rel=0.05)
    with pytest.raises(UserError, match="raters, images"):
        two_way_bootstrap_means(raters)
