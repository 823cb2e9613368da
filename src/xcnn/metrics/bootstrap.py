"""Percentile bootstrap over images (Efron 1979), for all columns of a table at once.

A resample depends on the number of images, the number of resamples before it and the seed, never on the values: columns
of one call, and calls with equally many images, share their resamples, so that what is compared is compared in pairs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError

CHUNK = 2_000_000  # drawn images held at a time


class Interval(NamedTuple):
    """A mean over images with the ends of its interval; each is an array with an entry per column."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Difference(NamedTuple):
    """A mean difference over images, the ends of its interval, and the two-sided p of no difference."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]


def bootstrap_means(values: ArrayLike, n_resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Means of resamples of the images, drawn with replacement: (n, ...) -> (n_resamples, ...).

    NaN is an undefined value: left out of each resample's mean, which is NaN where nothing is left.

    Raises:
        UserError: no images, an infinite value, or no resamples.
    """
    values = _checked(values)
    if n_resamples < 1:
        raise UserError(f"n_resamples is {n_resamples}; 2000 are usual, and at least 1 is needed.")
    n, shape = len(values), values.shape[1:]
    values = values.reshape(n, int(np.prod(shape)))
    defined = ~np.isnan(values)
    partial = ~defined.all(0)
    # One product gives the sums of all columns, and how many values are behind them where that is not n.
    table = np.hstack([np.where(defined, values, 0), defined[:, partial]])
    means = np.empty((n_resamples, values.shape[1]))
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // n)
    for start in range(0, n_resamples, rows):
        drawn = generator.integers(0, n, (min(rows, n_resamples - start), n))
        drawn += n * np.arange(len(drawn))[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums = counts.astype(np.float64) @ table
        part = means[start : start + rows]
        part[:] = sums[:, : values.shape[1]] / n
        with np.errstate(invalid="ignore"):  # 0 / 0: a resample without a defined value
            part[:, partial] = sums[:, : values.shape[1]][:, partial] / sums[:, values.shape[1] :]
    return means.reshape(n_resamples, *shape)


def two_way_bootstrap_means(values: ArrayLike, n_resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Means of resamples of raters and of images, each drawn with replacement (Owen 2007, the pigeonhole bootstrap).

    A resample's mean is over its images, of the mean over its raters who answered the image; an image that none of them
    answered is left out. Resamples of the images alone take the raters as they are, and are then too sure of what other
    raters would say.

    Args:
        values: (raters, images, ...), NaN where a rater did not answer the image.
        n_resamples: number of resamples.
        seed: random seed of the resamples.

    Returns:
        (n_resamples, ...), NaN where no drawn rater answered a drawn image.

    Raises:
        UserError: fewer than two axes, no rater or image, an infinite value, or no resamples.
    """
    values = _checked(values)
    if values.ndim < 2 or not values.shape[1]:
        raise UserError(f"the values are {values.shape}; pass (raters, images, ...) with at least one of each.")
    if n_resamples < 1:
        raise UserError(f"n_resamples is {n_resamples}; 2000 are usual, and at least 1 is needed.")
    raters, images, shape = values.shape[0], values.shape[1], values.shape[2:]
    columns = int(np.prod(shape))
    values = values.reshape(raters, images, columns)
    answered = ~np.isnan(values)
    table = np.where(answered, values, 0).reshape(raters, -1)
    given = answered.reshape(raters, -1).astype(np.float64)
    means = np.empty((n_resamples, columns))
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // (images * columns))
    for start in range(0, n_resamples, rows):
        n = min(rows, n_resamples - start)
        of_raters = generator.multinomial(raters, np.full(raters, 1 / raters), n).astype(np.float64)
        of_images = generator.multinomial(images, np.full(images, 1 / images), n)[..., None]
        votes = (of_raters @ given).reshape(n, images, columns)
        with np.errstate(invalid="ignore"):  # 0 / 0: nobody who was drawn answered
            per_image = np.where(votes > 0, (of_raters @ table).reshape(votes.shape) / votes, 0)
            means[start : start + n] = (of_images * per_image).sum(1) / (of_images * (votes > 0)).sum(1)
    return means.reshape(n_resamples, *shape)


def percentiles(resampled: NDArray[np.float64], level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the central interval of any resampled statistic: (n_resamples, ...) -> two of (...).

    Resamples in which it is undefined are left out; NaN where it is in all.

    Raises:
        UserError: `level` is outside (0, 1).
    """
    if not 0 < level < 1:
        raise UserError(f"level is {level}; it is the share of resamples inside the interval: choose one in (0, 1).")
    undefined = np.isnan(resampled)
    some = ~undefined.all(0)
    quantile = np.nanquantile if undefined.any() else np.quantile  # the former takes several times longer
    ends = np.full((2, *resampled.shape[1:]), np.nan)
    ends[:, some] = quantile(resampled[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    low, high = ends
    return low, high


def interval(values: ArrayLike, n_resamples: int = 2000, seed: int = 0, level: float = 0.95) -> Interval:
    """Means over images with their percentile intervals: values (n, ...), NaN left out, -> three of (...)."""
    return Interval(_means(_checked(values)), *percentiles(bootstrap_means(values, n_resamples, seed), level))


def paired_difference(
    a: ArrayLike, b: ArrayLike, n_resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Difference:
    """Mean of a - b over the images on which both are defined, with its interval: both (n, ...) -> four of (...).

    p is twice the share of resamples on the rarer side of 0, counting the sample itself as one (Davison & Hinkley
    1997, eq. 4.11), so it is at least 2 / (n_resamples + 1).

    Raises:
        UserError: the shapes differ: the pairs are not known.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise UserError(f"a is {a.shape} and b {b.shape}; pass the same images in the same order for both.")
    values = _checked(a - b)
    means = bootstrap_means(values, n_resamples, seed)
    rarer = np.minimum((means <= 0).sum(0), (means >= 0).sum(0))
    n_defined = (~np.isnan(means)).sum(0)
    p = np.where(n_defined > 0, np.minimum(1, 2 * (1 + rarer) / (1 + n_defined)), np.nan)
    return Difference(_means(values), *percentiles(means, level), p)


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(0) / defined.sum(0)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, np.float64)
    if values.ndim == 0 or not len(values):
        raise UserError("there are no images to resample; pass values (n, ...) with at least one row.")
    if np.isinf(values).any():
        raise UserError("a value is infinite; pass NaN where a metric is undefined, and it is left out of the means.")
    return values
