"""What a heat map looks like, whatever it is of: sparse or dense, coarse or fine, on the picture's edges or not.

Where a map has a sign, its absolute values count, except in `share_above`, which looks at the map as a colour scale
from its minimum to its maximum shows it. A map without contrast or without mass has no look, and is NaN.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from xcnn.device import at_least_float32
from xcnn.errors import UserError

GREY = (0.299, 0.587, 0.114)
SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))


def share_above(maps: Tensor, level: float = 0.5) -> Tensor:
    """Share of each map's pixels above `level`, once its minimum is 0 and its maximum 1: (N, h, w) -> (N,).

    Raises:
        UserError: `level` is outside [0, 1), or the maps are not finite maps.
    """
    if not 0 <= level < 1:
        raise UserError(f"level is {level}; it is a share of the map's range: choose one in [0, 1).")
    values = _checked(maps).flatten(1)
    low, high = values.aminmax(dim=1, keepdim=True)
    share = (values > low + level * (high - low)).to(values.dtype).mean(1)
    return share.masked_fill((high == low)[:, 0], torch.nan)


def gini(maps: Tensor) -> Tensor:
    """Gini index of each map's absolute values, 0 for a constant map, near 1 for one pixel: (N, h, w) -> (N,).

    Hurley & Rickard 2009, on maps by Chalasani et al. 2020.
    """
    values = _checked(maps).abs().flatten(1).double().sort(1).values
    n = values.shape[1]
    weights = (n - torch.arange(1, n + 1, dtype=values.dtype, device=values.device) + 0.5) / n
    return (1 - 2 * (values * weights).sum(1) / values.sum(1)).to(maps.dtype)


def extent(maps: Tensor) -> Tensor:
    """Root mean square distance of each map's mass from its centre, over that of a constant map: (N, h, w) -> (N,)."""
    values = _checked(maps).abs().double()
    _, height, width = values.shape
    rows, columns = (
        torch.arange(size, dtype=values.dtype, device=values.device) - (size - 1) / 2 for size in (height, width)
    )
    mass = values.sum((1, 2))
    row, column = (values.sum(2) @ rows) / mass, (values.sum(1) @ columns) / mass
    square = (values.sum(2) @ rows.square() + values.sum(1) @ columns.square()) / mass
    uniform = rows.square().mean() + columns.square().mean()
    return ((square - row.square() - column.square()).clamp(min=0) / uniform).sqrt().to(maps.dtype)


def fine_detail(maps: Tensor, cell: int | None = None) -> Tensor:
    """Share of each map's variance that lies within squares of `cell` pixels a side: (N, h, w) -> (N,) in [0, 1].

    0 for a map that is constant in each square, near 1 for noise.

    Args:
        maps: (N, h, w).
        cell: a divisor of both sides; by default the one above 1 nearest to an eighth of the height.

    Raises:
        UserError: `cell` does not divide the sides, the sides have no common divisor, or the maps are not finite maps.
    """
    values = _checked(maps).double()
    if cell is None:
        common = math.gcd(*values.shape[1:])
        if common == 1:
            raise UserError(f"no square divides maps of {tuple(values.shape[1:])}: resize them, or crop them.")
        divisors = (each for each in range(2, common + 1) if common % each == 0)
        cell = min(divisors, key=lambda each: abs(each - values.shape[1] / 8))
    if cell < 1 or any(side % cell for side in values.shape[1:]):
        raise UserError(f"squares of {cell} pixels do not divide maps of {tuple(values.shape[1:])}.")
    means = functional.avg_pool2d(values[:, None], cell)[:, 0]
    total = values.flatten(1).var(1, correction=0)
    return (1 - means.flatten(1).var(1, correction=0) / total).to(maps.dtype)


def edge_share(maps: Tensor, images: Tensor, fraction: float = 0.1) -> Tensor:
    """Share of each map's mass on the `fraction` of the pixels where its picture has the strongest edges: (N,).

    Edges are Sobel's, of the grey picture; a constant map has `fraction` of its mass there.

    Args:
        maps: (N, H, W), of the pictures' size.
        images: (N, 3, H, W).
        fraction: in (0, 1].

    Raises:
        UserError: shapes do not fit, or `fraction` is outside (0, 1].
    """
    values = _checked(maps).abs()
    if images.ndim != 4 or images.shape[1] != 3 or (len(images), *images.shape[2:]) != values.shape:
        raise UserError(f"maps are {tuple(maps.shape)} of images {tuple(images.shape)}; pass (N, H, W), (N, 3, H, W).")
    if not 0 < fraction <= 1:
        raise UserError(f"fraction is {fraction}; it is a share of the pixels: choose one in (0, 1].")
    strength = edges(images).flatten(1)
    strongest = strength.topk(max(1, round(fraction * strength.shape[1])), 1).indices
    flat = values.flatten(1)
    return flat.gather(1, strongest).sum(1) / flat.sum(1)


def edges(images: Tensor) -> Tensor:
    """Sobel's gradient magnitude of the grey pictures, borders repeated: (N, 3, H, W) -> (N, H, W)."""
    values = at_least_float32(images)
    grey = functional.pad((values * values.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True), (1,) * 4, "replicate")
    kernel = values.new_tensor(SOBEL)
    across, down = functional.conv2d(grey, torch.stack([kernel, kernel.T])[:, None]).unbind(1)
    return torch.hypot(across, down)


def _checked(maps: Tensor) -> Tensor:
    """The maps in float32 or wider.

    Raises:
        UserError: not three dimensions, or a map is not finite.
    """
    if maps.ndim != 3 or not maps.isfinite().all():
        raise UserError(f"maps are {tuple(maps.shape)}; pass finite maps (N, h, w).")
    return at_least_float32(maps)
