"""How a change on few places of the maps passes through operations other than convolutions."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules import batchnorm

from xcnn.models.graph.changes import Base, Change
from xcnn.models.graph.regions import Regions, Window
from xcnn.models.graph.rule import Rule
from xcnn.models.graph.subgraph import operation

__all__ = [
    "AveragePool",
    "Concatenation",
    "Elementwise",
    "Flatten",
    "Linear",
    "MaxPool",
    "Mean",
    "Pointwise",
    "Same",
    "Scale",
    "Sum",
]


ROWS = 512  # of a pointwise operation at a time, which stay in the cache


class Same(Rule):
    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        return replace(changes[0], rows=changes[0].rows if changes[0].spent else changes[0].rows.clone())


class Scale(Rule):
    """A normalisation in evaluation mode."""

    def __init__(self, node: Node, module: batchnorm._BatchNorm) -> None:
        super().__init__(node)
        self.module = module

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change, module = changes[0], self.module
        assert module.running_var is not None
        scale = (module.running_var + module.eps).rsqrt()
        if module.weight is not None:
            scale = scale * module.weight
        if change.channel is not None:
            scale = scale[change.channel][change.regions.patch, None]
        scale = scale.to(change.rows.dtype)
        return replace(change, rows=change.rows.mul_(scale) if change.spent else change.rows * scale, spent=True)


class Pointwise(Rule):
    """A function of each place by itself; of one channel by itself unless `mixing`."""

    def __init__(self, node: Node, operand: Node, root: nn.Module, mixing: bool) -> None:
        constants = [other for other in node.all_input_nodes if other is not operand]
        super().__init__(node, (operand, *constants))
        self.operand, self.root, self.mixing = operand, root, mixing
        module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
        self.relu = isinstance(module, nn.ReLU) or operation(node) == "relu"

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change, all_rows = changes[0], base.rows(self.operand)
        if self.mixing:
            change = change.expanded(all_rows.shape[1])
        place, channel = change.regions.place, change.channel
        if channel is not None:
            channel = channel[change.regions.patch]
        new = change.rows if change.spent else change.rows.clone()
        for part in (slice(i, i + ROWS) for i in range(0, len(new), ROWS)):
            old = all_rows[place[part]] if channel is None else all_rows[place[part], channel[part]][:, None]
            rows = new[part].add_(old)
            if self.relu:
                rows.relu_().sub_(old.relu_())
            else:
                rows.copy_(self._run(base, {self.operand: rows}, self.root))
                rows.sub_(self._run(base, {self.operand: old}, self.root))
        return replace(change, rows=new, spent=True)


class MaxPool(Rule):
    def __init__(self, node: Node, operand: Node, window: Window) -> None:
        super().__init__(node, (node, operand))
        self.operand, self.window = operand, window

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        (height, width), rows = base.size(self.operand), base.rows(self.operand)
        change = changes[0].expanded(rows.shape[1])
        regions = self.window.reached(change.regions, base.size(self.node))
        start = regions.image[regions.patch] * (height * width)
        new = rows.new_full((len(regions.patch), rows.shape[1]), float("-inf"))
        for row, column, inside in self.window.sources(regions, (height, width)):
            value = rows[torch.where(inside, start + row * width + column, 0)]
            index = change.regions.index(regions.patch, row, column)
            changed = (index >= 0).nonzero()[:, 0]
            value.index_add_(0, changed, change.rows[index[changed]])
            torch.maximum(new, value.masked_fill_(~inside[:, None], float("-inf")), out=new)
        return Change(regions, new.sub_(base.rows(self.node)[regions.place]), spent=True)


class AveragePool(Rule):
    def __init__(self, node: Node, operand: Node, window: Window, root: nn.Module) -> None:
        super().__init__(node)
        self.operand, self.window, self.root = operand, window, root

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change, size, outputs = changes[0], base.size(self.operand), base.size(self.node)
        regions = self.window.reached(change.regions, outputs)
        rows = change.rows.new_zeros(len(regions.patch), change.rows.shape[1])
        for _, _, source, target in self.window.pairs(change.regions, regions):
            rows.index_add_(0, target, change.rows if source is None else change.rows[source])
        # What the padding counts for depends on the options: the pooling of ones says.
        ones = self._run(base, {self.operand: rows.new_ones(1, 1, *size)}, self.root)[0, 0]
        weight = (ones / self.window.counts(size, outputs, rows.device)).flatten()
        return Change(regions, rows.mul_(weight[regions.spot, None]), change.channel, True)


class Mean(Rule):
    """The mean over all places."""

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change, (height, width) = changes[0], changes[0].regions.size
        rows = change.rows.new_zeros(len(change.regions), change.rows.shape[1])
        rows.index_add_(0, change.regions.patch, change.rows)
        return Change(Regions.whole((1, 1), change.regions.image), rows.div_(height * width), change.channel, True)


class Flatten(Rule):
    """Maps as vectors."""

    def __init__(self, node: Node, operand: Node) -> None:
        super().__init__(node)
        self.operand = operand

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        maps = changes[0].maps(base.shapes[self.operand][1])
        return Change(Regions.whole((1, 1), changes[0].regions.image), maps.flatten(1), spent=True)


class Linear(Rule):
    def __init__(self, node: Node, module: nn.Linear) -> None:
        super().__init__(node)
        self.module = module

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change = changes[0].expanded(self.module.in_features)
        return Change(change.regions, change.rows @ self.module.weight.t(), spent=True)


class Sum(Rule):
    """A sum or difference, of operands some of which change."""

    def __init__(self, node: Node, signs: Sequence[int]) -> None:
        super().__init__(node)
        self.signs = signs

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        parts = [change.expanded(base.shapes[self.node][1]) for change in changes]
        regions = functools.reduce(Regions.union, [part.regions for part in parts])
        total = max(range(len(parts)), key=lambda i: (parts[i].regions.same(regions), parts[i].spent))
        whole = parts[total].at(regions)
        rows = whole.rows if whole.spent else whole.rows.clone()
        if self.signs[total] < 0:
            rows.neg_()
        for i, part in enumerate(parts):
            if i != total:
                own = part.regions
                index = None if own.same(regions) else regions.index(own.patch, own.row, own.column)
                added = part.rows if self.signs[i] > 0 else -part.rows
                rows = rows.add_(added) if index is None else rows.index_add_(0, index, added)
        return Change(regions, rows, spent=True)


class Elementwise(Rule):
    """A function of the values of several operands at the same place and channel."""

    def __init__(self, node: Node, operands: Sequence[Node], root: nn.Module) -> None:
        super().__init__(node, node.all_input_nodes)
        self.operands, self.root = list(operands), root

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        shape = base.shapes[self.node]
        given = dict(zip(self.operands, (change.expanded(shape[1]) for change in changes), strict=True))
        regions = functools.reduce(Regions.union, [change.regions for change in given.values()])
        old, new = dict[Node, Tensor](), dict[Node, Tensor]()
        for node in self.node.all_input_nodes:
            if node in base.shapes:
                value = base.values[node].expand(shape).movedim(1, -1)
                place = [regions.image[regions.patch], regions.row, regions.column][: value.ndim - 1]
                old[node] = new[node] = value[tuple(place)]
            if node in given:
                new[node] = old[node] + given[node].at(regions).rows
        return Change(regions, self._run(base, new, self.root) - self._run(base, old, self.root), spent=True)


class Concatenation(Rule):
    def __init__(self, node: Node, parts: Sequence[Node], operands: Sequence[Node]) -> None:
        super().__init__(node)
        self.parts, self.operands = list(parts), list(operands)

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        given = dict(zip(self.operands, changes, strict=True))
        regions = functools.reduce(Regions.union, [change.regions for change in changes])
        first = changes[0]
        if len(changes) == 1 and self.parts.count(self.operands[0]) == 1 and first.channel is not None:
            before = sum(base.shapes[part][1] for part in self.parts[: self.parts.index(self.operands[0])])
            return Change(regions, first.rows.clone(), first.channel + before, True)
        rows = first.rows.new_zeros(len(regions.patch), base.shapes[self.node][1])
        for part, columns in zip(self.parts, rows.split([base.shapes[part][1] for part in self.parts], 1), strict=True):
            if part in given:
                change, own = given[part].expanded(columns.shape[1]), given[part].regions
                if own.same(regions):
                    columns.copy_(change.rows)
                else:
                    columns[regions.index(own.patch, own.row, own.column)] = change.rows
        return Change(regions, rows, spent=True)
