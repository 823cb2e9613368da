"""How a change on few places of the maps passes through a convolution.

Two forms of the same sum. Tap by tap: the rows of all places times the weight of a tap, added to the places that the
tap reaches. Place by place: the rows of all patches at one place share the values without a change, and so the units
that are off with and without the change; behind a ReLU these are most (two of three to four of five in ResNet-50's
last stages), and the product leaves them out.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.utils import _pair

from xcnn.models.graph.changes import Base, Change
from xcnn.models.graph.regions import Regions, Window
from xcnn.models.graph.rule import Rule

__all__ = ["Convolution"]

ROWS = 12  # patches at a place from which on a product of its own is worth choosing its units


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
        regions = change.regions
        if not self.window.pointwise:
            regions = self.window.reached(regions, base.size(self.node))
        # A GPU would spend its time on starting the many products.
        by_place = groups == 1 and change.channel is None and change.rows.device.type == "cpu"
        places = _Places(change.regions) if by_place and len(change.regions) >= ROWS else None
        if places is not None and places.rows >= ROWS:
            return Change(regions, self._by_place(change, regions, places, taps), spent=True)
        if self.window.pointwise:
            return Change(regions, _product(change, None, taps[:, 0, 0], groups), spent=True)
        rows = change.rows.new_zeros(len(regions.patch), taps.shape[3])
        for i, j, source, target in self.window.pairs(change.regions, regions):
            rows.index_add_(0, target, _product(change, source, taps[:, i, j], groups))
        return Change(regions, rows, spent=True)

    def _by_place(self, change: Change, regions: Regions, places: "_Places", taps: Tensor) -> Tensor:
        """The rows of the outputs, with a product for each place."""
        channels, _, columns, outputs = taps.shape
        weights = taps.reshape(-1, outputs).contiguous()  # a row for each channel and tap
        rows = change.rows.new_zeros(len(regions.patch), outputs)
        # index of place (0, 0) among the rows of each patch, if its rectangle reached there
        origin = regions.starts - regions.top * regions.width - regions.left
        for row, column, members in places:
            reached = [(i, j, y, x) for i, y in self._taps(row, 0, regions) for j, x in self._taps(column, 1, regions)]
            if not reached:
                continue
            i, j, y, x = torch.tensor(reached).unbind(1)
            patch = change.regions.patch[members]
            target = origin[patch, None] + y * regions.width[patch, None] + x
            values = change.rows.index_select(0, members)
            used = values.abs().amax(0).nonzero()[:, 0]
            if not len(used):
                continue
            chosen = used[:, None] * (len(weights) // channels) + i * columns + j
            weight = weights.index_select(0, chosen.flatten()).view(len(used), -1)
            product = values.index_select(1, used) @ weight
            rows.index_add_(0, target.flatten(), product.view(-1, outputs))
        return rows

    def _taps(self, coordinate: int, axis: int, outputs: Regions) -> list[tuple[int, int]]:
        """The taps that read an input's coordinate along an axis, each with the coordinate of the output it is for."""
        found = []
        for tap in range(self.window.kernel[axis]):
            shifted = coordinate + self.window.padding[axis] - self.window.dilation[axis] * tap
            target, rest = divmod(shifted, self.window.stride[axis])
            if rest == 0 and 0 <= target < outputs.size[axis]:
                found.append((tap, target))
        return found


class _Places:
    """The rows of regions place by place: vertical and horizontal coordinate, and indices of the rows there.

    Attributes:
        rows: mean number of rows at the place of a row.
    """

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._order = regions.place.argsort(stable=True)
        self._counts = torch.unique_consecutive(regions.place[self._order], return_counts=True)[1]
        self.rows = float(self._counts.square().sum() / max(1, len(self._order)))

    def __iter__(self) -> Iterator[tuple[int, int, Tensor]]:
        for members in self._order.split(self._counts.tolist()):
            spot = int(self._regions.spot[members[0]])
            yield *divmod(spot, self._regions.size[1]), members


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
