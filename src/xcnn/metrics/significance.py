"""Whether a value stands out from those of chance, and of how many values that may be said."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from xcnn.errors import UserError

__all__ = ["binomial_band", "holm", "rank_p"]


def rank_p(values: ArrayLike, chance: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p of each value among those of chance: twice the smaller share of both tails, the value among them.

    Exact, for any distribution, where the value and those of chance are exchangeable under the null hypothesis; ties
    make it larger. At least 2 / (R + 1).

    Args:
        values: (V, ...).
        chance: (R, ...), R draws under the null hypothesis.

    Returns:
        (V, ...) in (0, 1].

    Raises:
        UserError: no draw of chance.
    """
    values, chance = np.asarray(values, np.float64), np.asarray(chance, np.float64)
    if not len(chance):
        raise UserError("there is no draw of chance to compare with; pass at least one.")
    below, above = ((chance[None] <= values[:, None]).sum(1), (chance[None] >= values[:, None]).sum(1))
    return np.minimum(1, 2 * (1 + np.minimum(below, above)) / (1 + len(chance)))


def holm(p: ArrayLike, axis: int = 0) -> NDArray[np.float64]:
    """Holm's (1979) adjusted p of a family along an axis: those at most alpha err in any with a chance of alpha."""
    p = np.moveaxis(np.asarray(p, np.float64), axis, 0)
    order = p.argsort(0, kind="stable")
    factors = np.arange(len(p), 0, -1).reshape(-1, *[1] * (p.ndim - 1))
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, 0) * factors, 0).clip(max=1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, 0)
    return np.moveaxis(adjusted, 0, axis)


def binomial_band(n: int, chance: float, level: float = 0.95) -> tuple[float, float]:
    """Ends of the central interval of a share of n independent trials that succeed with a chance, both possible shares.

    At least `level` of the distribution lies within.
    """
    low, high = binom.interval(level, n, chance)
    return float(low) / n, float(high) / n
