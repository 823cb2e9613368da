"""The composite rows of eqs. 7 and 8: what several blocks say of each location, in one vector.

Eq. 8 divides each normalised block by its number of channels D_b; all is multiplied through by the smallest D_b here,
which changes no assignment and keeps distances near 1. Dividing by D_b makes the shallow blocks decide: of the squared
norm, ResNet's blocks 2, 3 and 4 have 76, 19 and 5 %. `BLOCK_WEIGHTS` are the alternatives.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.errors import UserError

BlockWeight = Literal["1/D", "1/sqrt(D)", "1"]
Norm = Literal["row", "map"]
Interpolation = Literal["bilinear", "bicubic"]

BLOCK_WEIGHTS: dict[str, Callable[[int], float]] = {
    "1/D": lambda channels: 1 / channels,
    "1/sqrt(D)": lambda channels: 1 / math.sqrt(channels),
    "1": lambda channels: 1.0,
}
EPS = 1e-12  # a location where no channel is active stays a row of zeros


def check_options(block_weight: str, norm: str, interpolation: str) -> None:
    """Raises UserError for a choice that there is not."""
    for option, value, known in (
        ("block_weight", block_weight, tuple(BLOCK_WEIGHTS)),
        ("norm", norm, ("row", "map")),
        ("interpolation", interpolation, ("bilinear", "bicubic")),
    ):
        if value not in known:
            raise UserError(f"{option} must be one of {', '.join(known)}, not {value!r}.")


def resize(maps: Tensor, size: Sequence[int], interpolation: Interpolation = "bilinear") -> Tensor:
    """Maps (N, D, h, w) at another size (eq. 7), `align_corners=False`.

    Bilinear enlargement by a whole number keeps each map's mean exactly; bicubic does not.
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode=interpolation, align_corners=False)


def composite(
    maps: Sequence[Tensor],
    block_weight: BlockWeight = "1/D",
    norm: Norm = "row",
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Rows (N, H', W', sum of D_b) of blocks (N, D_b, h_b, w_b), at the resolution of the first (eqs. 7 and 8).

    Args:
        maps: of each block, from shallow to deep.
        block_weight: by what a block's normalised vectors are multiplied.
        norm: "row" divides each location's vector by its L2 norm over channels; "map" each block by the norm of the
            whole map, over channels and locations, times the number of locations' square root, so that rows are of
            norm 1 on average.
        interpolation: to the resolution of the first block.
    """
    size, weights = maps[0].shape[2:], _weights(maps, block_weight)
    rows = maps[0].new_empty(len(maps[0]), *size, sum(part.shape[1] for part in maps))
    for part, weight, place in zip(maps, weights, rows.split([part.shape[1] for part in maps], -1), strict=True):
        block = resize(part, size, interpolation).permute(0, 2, 3, 1)
        torch.mul(block, weight / _normaliser(_lengths(block), norm), out=place)
    return rows


def products(
    maps: Sequence[Tensor],
    columns: Tensor,
    block_weight: BlockWeight = "1/D",
    norm: Norm = "row",
    interpolation: Interpolation = "bilinear",
) -> tuple[Tensor, Tensor]:
    """Products (N, H', W', K) of composite rows with columns (K, sum of D_b), and the rows' squared lengths.

    The rows are never formed: a product with a block's column commutes with eq. 7's interpolation, which is linear
    over locations, and with eq. 8's division. So each block is multiplied at its own resolution, which for ResNet's
    blocks 2, 3 and 4 is a quarter of the work at that of the first.

    Args:
        maps, block_weight, norm, interpolation: as of `composite`.

    Returns:
        The products, and the lengths (N, H', W', 1).
    """
    size, weights = maps[0].shape[2:], _weights(maps, block_weight)
    found, squared = None, maps[0].new_zeros(())
    for part, weight, own in zip(maps, weights, columns.split([part.shape[1] for part in maps], 1), strict=True):
        lengths = _lengths(resize(part, size, interpolation).permute(0, 2, 3, 1))
        factor = weight / _normaliser(lengths, norm)
        product = (part.permute(0, 2, 3, 1) @ own.T).permute(0, 3, 1, 2)
        product = resize(product, size, interpolation).permute(0, 2, 3, 1)
        found = product.mul_(factor) if found is None else found.addcmul_(product, factor)
        squared = squared + (factor * lengths).square_()
    assert found is not None
    return found, squared


def _weights(maps: Sequence[Tensor], block_weight: BlockWeight) -> list[float]:
    weights = [BLOCK_WEIGHTS[block_weight](part.shape[1]) for part in maps]
    return [weight / max(weights) for weight in weights]


def _lengths(block: Tensor) -> Tensor:
    return torch.linalg.vector_norm(block, dim=-1, keepdim=True)


def _normaliser(lengths: Tensor, norm: Norm) -> Tensor:
    """What vectors of such lengths (N, H', W', 1) are divided by."""
    if norm == "map":
        lengths = lengths.square().mean((1, 2), keepdim=True).sqrt()
    return lengths.clamp(min=EPS)
