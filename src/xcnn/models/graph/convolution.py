"""How a change on few places of the maps passes through a convolution.

Tap by tap: the rows of all places times the weight of a tap, added to the rows of the places that the tap reaches. Few
input channels, whose products cost less than those additions, are gathered from all taps first. Where the places lie
close together, a 3 x 3 convolution takes fewer products by Winograd's transform (`models.graph.winograd`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.utils import _pair

from xcnn.models.graph.changes import Base, Change
from xcnn.models.graph.regions import Regions, Window
from xcnn.models.graph.rule import Rule
from xcnn.models.graph.winograd import tiles, winograd

__all__ = ["Convolution"]

FEW = 8  # input channels whose taps are gathered
MANY = 64  # channels on both sides from which a transform's products outweigh what it takes besides
EXACT = (torch.float32, torch.float64)  # the transform's rounding is too large for others
SPREAD = 1.3  # outputs for each input, times the strides, up to which all of an output's taps are gathered
ROWS = 2048  # of outputs whose taps are gathered at a time, which stay in the cache
WORTH = 0.75  # share of the products that remain with the transform, below which it is worth what it takes besides


class Convolution(Rule):
    def __init__(self, node: Node, module: nn.Conv2d) -> None:
        super().__init__(node)
        self.module = module
        padding = module._reversed_padding_repeated_twice  # (left, right, top, bottom), "same" resolved
        pairs = [_pair(given) for given in (module.kernel_size, module.stride, module.dilation)]
        self.window = Window(pairs[0], pairs[1], (padding[2], padding[0]), pairs[2])
        wide = min(module.in_channels, module.out_channels) >= MANY
        self.square = wide and module.groups == 1 and pairs == [(3, 3), (1, 1), (1, 1)]

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        groups, weight = self.module.groups, self.module.weight.detach()
        change = changes[0] if groups == 1 else changes[0].expanded(self.module.in_channels)
        if self.window.pointwise:
            return Change(change.regions, _product(change, None, weight[:, :, 0, 0].t(), groups), spent=True)
        regions = self.window.reached(change.regions, base.size(self.node))
        if self.square and self._close(change, regions):
            return Change(regions, winograd(change, regions, weight, self.window.padding), spent=True)
        taps = base.once(self.node, lambda: weight.permute(1, 2, 3, 0).contiguous())  # (K / groups, kh, kw, O)
        if change.channel is None and groups == 1 and self._dense(change, regions):
            return Change(regions, self._gathered(change, regions, taps), spent=True)
        rows = change.rows.new_zeros(len(regions.patch), taps.shape[3])
        for i, j, source, target in self.window.pairs(change.regions, regions):
            rows.index_add_(0, target, _product(change, source, taps[:, i, j], groups))
        return Change(regions, rows, spent=True)

    def _gathered(self, change: Change, regions: Regions, taps: Tensor) -> Tensor:
        """The output's rows as one product of all taps' inputs."""
        matrix = taps.permute(1, 2, 0, 3).flatten(0, 2)  # (kh kw K, O)
        parts = [
            change.taken(self.window.read(change.regions, regions, part).flatten()).view(-1, len(matrix)) @ matrix
            for part in (slice(i, i + ROWS) for i in range(0, max(1, len(regions.patch)), ROWS))
        ]
        return torch.cat(parts)

    def _dense(self, change: Change, regions: Regions) -> bool:
        """Whether gathering the taps of every output costs no more than adding up those that change."""
        step = self.window.stride[0] * self.window.stride[1]
        return self.module.in_channels <= FEW or step * len(regions.patch) <= SPREAD * len(change.rows)

    def _close(self, change: Change, regions: Regions) -> bool:
        """Whether the places lie so close together that the transform takes far fewer products."""
        if change.channel is not None or change.rows.dtype not in EXACT:
            return False
        return 36 * len(tiles(regions).patch) < WORTH * 9 * len(change.rows)


def _product(change: Change, source: Tensor | None, weight: Tensor, groups: int) -> Tensor:
    """Product of a change's rows, all or some, with one tap of a convolution's weight (K / groups, O): (R, O)."""
    rows = change.rows if source is None else change.rows[source]
    if change.channel is not None:
        patch = change.regions.patch if source is None else change.regions.patch[source]
        return weight[change.channel][patch] * rows
    if groups == 1:
        return rows @ weight
    if len(weight) == 1:  # depthwise
        return (rows[:, :, None] * weight.view(groups, -1)).flatten(1)
    return torch.einsum("rgk,kgo->rgo", rows.unflatten(1, (groups, -1)), weight.unflatten(1, (groups, -1))).flatten(1)
