"""How a change on few places of the maps passes through a convolution.

Tap by tap: the rows of all places times the weight of a tap, added to the rows of the places that the tap reaches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.utils import _pair

from xcnn.models.graph.changes import Base, Change
from xcnn.models.graph.regions import Window
from xcnn.models.graph.rule import Rule

__all__ = ["Convolution"]


class Convolution(Rule):
    def __init__(self, node: Node, module: nn.Conv2d) -> None:
        super().__init__(node)
        self.module = module
        padding = module._reversed_padding_repeated_twice  # (left, right, top, bottom), "same" resolved
        pairs = [_pair(given) for given in (module.kernel_size, module.stride, module.dilation)]
        self.window = Window(pairs[0], pairs[1], (padding[2], padding[0]), pairs[2])

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        groups, taps = self.module.groups, base.taps(self.node, self.module.weight.detach())
        change = changes[0] if groups == 1 else changes[0].expanded(self.module.in_channels)
        if self.window.pointwise:
            return Change(change.regions, _product(change, None, taps[:, 0, 0], groups), spent=True)
        regions = self.window.reached(change.regions, base.size(self.node))
        rows = change.rows.new_zeros(len(regions.patch), taps.shape[3])
        for i, j, source, target in self.window.pairs(change.regions, regions):
            rows.index_add_(0, target, _product(change, source, taps[:, i, j], groups))
        return Change(regions, rows, spent=True)


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
