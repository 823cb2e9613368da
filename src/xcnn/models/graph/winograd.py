"""Convolutions of 3 x 3 by Winograd's minimal filtering: 36 products for a tile of 4 x 4 outputs in place of 144.

Y = A^T [(G g G^T) (B^T d B)] A for a filter g and the 6 x 6 inputs d of a tile (Lavin & Gray: Fast algorithms for
convolutional neural networks, CVPR 2016, sec. 4.3). Exact up to rounding, which is a few times that of the sum of
products.
"""

import torch
from torch import Tensor

from xcnn.models.graph.changes import Change
from xcnn.models.graph.regions import Regions

__all__ = ["TILE", "tiles", "winograd"]

TILE = 4
_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_FILTER = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # times 24
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def tiles(regions: Regions) -> Regions:
    """The tiles of output regions, counted from the first corner of each."""
    zero, size = torch.zeros_like(regions.top), regions.size
    return Regions(size, regions.image, zero, zero, _ceiled(regions.height), _ceiled(regions.width))


def winograd(change: Change, regions: Regions, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """The change (R, O) of a convolution's output on regions that hold all that the change reaches.

    Args:
        change: change of the input, on all channels.
        weight: the filters, (O, K, 3, 3).
        padding: that above and to the left.
    """
    tile = tiles(regions)
    if not len(tile.patch):
        return change.rows.new_zeros(0, len(weight))
    step = torch.arange(TILE + 2, device=regions.image.device)
    row = (regions.top[tile.patch] + TILE * tile.row - padding[0]) + step[:, None, None]  # (6, 1, T)
    column = (regions.left[tile.patch] + TILE * tile.column - padding[1]) + step[None, :, None]  # (1, 6, T)
    index = change.regions.index(tile.patch, row, column)
    inputs = _both_sides(_INPUT, change.taken(index.flatten()), len(tile.patch))
    outputs = _both_sides(_OUTPUT, _products(inputs, weight), len(tile.patch)).flatten(0, 1)
    row, column = regions.row - regions.top[regions.patch], regions.column - regions.left[regions.patch]
    place = tile.index(regions.patch, row // TILE, column // TILE)
    return outputs[(row % TILE * TILE + column % TILE) * len(tile.patch) + place]


def _products(inputs: Tensor, weight: Tensor) -> Tensor:
    """Transformed inputs (36, T, K) times G g G^T of the filters (O, K, 3, 3), each place of a tile: (36, T, O).

    The filters are transformed for one row of a tile at a time: all at once they take four times the weights' memory.
    """
    side = _matrix(_FILTER, weight) / 24
    taps = weight.flatten(2).flatten(0, 1).t()  # (9, O K)
    products = inputs.new_empty(*inputs.shape[:2], len(weight))
    for i in range(0, len(inputs), len(side)):
        transformed = torch.kron(side[i // len(side), None], side) @ taps
        transformed = transformed.unflatten(1, weight.shape[:2]).transpose(1, 2)  # (6, K, O)
        torch.bmm(inputs[i : i + len(side)], transformed, out=products[i : i + len(side)])
    return products


def _both_sides(side: list[list[int]], values: Tensor, count: int) -> Tensor:
    """S v S^T of the tiles' values, 36 for each place of them: (rows of S squared, tiles, channels)."""
    matrix = _matrix(side, values)
    down = matrix @ values.reshape(6, -1)
    across = matrix.expand(len(matrix), -1, -1).bmm(down.view(len(matrix), 6, -1))
    return across.view(len(matrix) ** 2, count, -1)


def _matrix(rows: list[list[int]], like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def _ceiled(length: Tensor) -> Tensor:
    return (length + (TILE - 1)) // TILE
