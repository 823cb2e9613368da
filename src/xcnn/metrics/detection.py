"""How well a score tells two kinds of images apart: the area under the ROC curve, with its interval over images."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError
from xcnn.metrics.bootstrap import Interval, percentiles

CHUNK = 4_000_000  # pairs of images that are compared at a time


def auroc(
    positive: ArrayLike,
    negative: ArrayLike,
    paired: bool = False,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """P(positive > negative) + P(positive = negative) / 2 of each column, and its percentile interval over images.

    Args:
        positive: scores (n, ...) of the images to be found.
        negative: scores (m, ...) of the others.
        paired: whether row i of both is of the same image, so that a resample has both of it or neither.
        n_resamples: number of resamples; 0 for no interval (NaN).
        seed: random seed of the resamples.
        level: share of the resamples within the interval.

    Returns:
        mean, low and high (...) each.

    Raises:
        UserError: no images of a kind, columns that differ, a score that is NaN, or pairs that are not as many.
    """
    one, other = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    if not len(one) or not len(other) or one.shape[1:] != other.shape[1:] or (paired and len(one) != len(other)):
        raise UserError(f"scores {one.shape} and {other.shape}: give some of both, with the same columns.")
    if np.isnan(one).any() or np.isnan(other).any():
        raise UserError("a score is NaN: give a number to every image, such as the lowest to one without a score.")
    shape, generator = one.shape[1:], np.random.default_rng(seed)
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    counts = [generator.multinomial(n, np.full(n, 1 / n), n_resamples) for n in (len(one), len(other))]
    of_one, of_other = (each.astype(np.float64) for each in (counts[0], counts[0] if paired else counts[1]))
    means, resampled = np.empty(one.shape[1]), np.empty((n_resamples, one.shape[1]))
    for column in range(one.shape[1]):
        wins = _wins(one[:, column], other[:, column])
        means[column] = wins.mean()
        resampled[:, column] = ((of_one @ wins) * of_other).sum(1) / wins.size
    nothing = np.full(one.shape[1], np.nan)
    low, high = percentiles(resampled, level) if n_resamples else (nothing, nothing)
    return Interval(*(values.reshape(shape) for values in (means, low, high)))


def _wins(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a positive's score is above a negative's, 1/2 where they are equal: (n, m)."""
    found = np.empty((len(one), len(other)))
    rows = max(1, CHUNK // len(other))
    for start in range(0, len(one), rows):
        part = one[start : start + rows, None]
        found[start : start + rows] = (part > other) + 0.5 * (part == other)
    return found
