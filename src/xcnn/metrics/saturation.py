"""Does a gradient hide what an ablation shows? Gradient times activation against the drop of the score, unit by unit.

To first order, setting a unit (a channel, or a location) to zero costs its gradient times its activation. Where the
score has levelled off the gradient is near zero and the unit may matter all the same: the gradient is saturated.
"""

import torch
from torch import Tensor

from xcnn.errors import UserError


def hidden_share(drops: Tensor, products: Tensor, below: float = 0.1) -> Tensor:
    """Share of what ablations cost that falls on units whose gradient times activation hides most of it.

    Args:
        drops: drop of the score when each unit alone is set to zero, (N, units).
        products: gradient times activation of the same units, (N, units).
        below: a unit is hidden if its product is at most this share of its drop, in [0, 1).

    Returns:
        (N,) in [0, 1]: of the sum of the positive drops. NaN where no drop is positive.

    Raises:
        UserError: the shapes differ, or `below` is outside [0, 1).
    """
    if drops.ndim != 2 or drops.shape != products.shape:
        raise UserError(f"drops are {tuple(drops.shape)} and products {tuple(products.shape)}; pass (N, units) twice.")
    if not 0 <= below < 1:
        raise UserError(f"below is {below}; choose a share in [0, 1).")
    cost = drops.clamp(min=0)
    return (cost * (products <= below * cost)).sum(1) / cost.sum(1).where(cost.sum(1) > 0, torch.nan)


def accounted(drops: Tensor, products: Tensor) -> Tensor:
    """Least-squares slope through the origin of products on drops, (N, units) each: (N,).

    1 where the score is linear in each unit, near 0 where the gradient is saturated. NaN where all drops are 0.
    """
    square = drops.square().sum(1)
    return (drops * products).sum(1) / square.where(square > 0, torch.nan)
