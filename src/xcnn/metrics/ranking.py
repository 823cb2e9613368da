"""Maps at their picture's size, and its pixels in the order that a map gives them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xcnn.attribution import upsample
from xcnn.device import at_least_float32
from xcnn.errors import UserError

__all__ = ["at_size", "finite", "relevance_rank"]


def finite(maps: Tensor) -> Tensor:
    """The maps, if they are finite.

    Raises:
        UserError: a map holds NaN or infinity.
    """
    if not maps.isfinite().all():
        raise UserError("a map holds NaN or infinity; look for the division by zero in the method that made it.")
    return maps


def at_size(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, h, w) at their pictures' size (N, H, W), bilinearly, in float32 or wider.

    Raises:
        UserError: not three dimensions, or a map is not finite.
    """
    if maps.ndim != 3:
        raise UserError(f"maps are {tuple(maps.shape)}; pass maps (N, h, w).")
    maps = at_least_float32(finite(maps))
    return maps if maps.shape[1:] == tuple(size) else upsample(maps, size)


def relevance_rank(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Place of each pixel from the most relevant (0) to the least: (N, h, w) -> int64 (N, H, W).

    Ties keep reading order, so `rank < k` marks exactly the k most relevant pixels, and `rank >= H W - k` the k least.

    Raises:
        UserError: as `at_size`.
    """
    order = at_size(maps, size).flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).unflatten(1, tuple(size))
