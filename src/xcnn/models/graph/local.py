"""How a change on a few places of the maps passes through an operation that looks at a window of them.

A change is what is to be added to the value that an operation had without it. So an affine operation needs nothing but
the change; any other also needs its value without the change, on those places only.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.modules import activation, batchnorm, dropout
from torch.nn.modules.utils import _pair

from xcnn.models.graph.regions import Regions, Window
from xcnn.models.graph.subgraph import names, operation

__all__ = ["POINTWISE", "POINTWISE_MODULES", "Base", "Change", "Rule", "local_rule"]

POINTWISE_MODULES = (
    *(activation.ReLU, activation.ReLU6, activation.LeakyReLU, activation.PReLU, activation.ELU, activation.SELU),
    *(activation.CELU, activation.GELU, activation.SiLU, activation.Mish, activation.Hardswish, activation.Softplus),
    *(activation.Hardsigmoid, activation.Hardtanh, activation.Sigmoid, activation.Tanh, nn.Identity),
    *(dropout._DropoutNd, batchnorm.BatchNorm2d),
)
POINTWISE = names(
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish softplus hardsigmoid hardtanh sigmoid tanh"
)
_SAME = names("contiguous clone positive")
_SUMS = {"add": 1, "sub": -1, "subtract": -1}
_ELEMENTWISE = names("mul multiply div true_divide truediv maximum minimum")
_RESHAPES = names("flatten view reshape squeeze")


@dataclass(frozen=True)
class Change:
    """What patches add to a value: to maps (N, K, H, W), or to vectors (N, K), which are maps of one place.

    Attributes:
        regions: the places where the value changes, for each of P patches.
        rows: (R, K), what is added there; (R, 1) where one channel of each patch changes.
        channel: (P,), that channel; None where all may change.
        spent: whether the rows may be overwritten.
    """

    regions: Regions
    rows: Tensor
    channel: Tensor | None = None
    spent: bool = False

    def expanded(self, channels: int) -> "Change":
        """The change with rows of all channels."""
        if self.channel is None:
            return self
        rows = self.rows.new_zeros(len(self.rows), channels)
        rows.scatter_(1, self.channel[self.regions.patch, None], self.rows)
        return Change(self.regions, rows, spent=True)

    def at(self, regions: Regions) -> "Change":
        """The change with rows on other regions that hold its own."""
        if self.regions.same(regions):
            return replace(self, regions=regions)
        rows = self.rows.new_zeros(len(regions.patch), self.rows.shape[1])
        own = self.regions
        rows[regions.index(own.patch, own.row, own.column)] = self.rows
        return Change(regions, rows, self.channel, True)

    def maps(self, channels: int) -> Tensor:
        """The change on whole maps, (P, K, H, W)."""
        change, (height, width) = self.expanded(channels), self.regions.size
        whole = change.rows.new_zeros(len(self.regions), height * width, channels)
        whole[self.regions.patch, self.regions.spot] = change.rows
        return whole.transpose(1, 2).unflatten(2, (height, width))


class Base:
    """The values of a network's nodes for N images, without any change.

    Attributes:
        values: by node, those that are needed.
        shapes: shape of every node's value that is a tensor.
    """

    def __init__(self) -> None:
        self.values: dict[Node, Any] = {}
        self.shapes: dict[Node, torch.Size] = {}
        self._rows: dict[Node, Tensor] = {}
        self._taps: dict[Node, Tensor] = {}

    def size(self, node: Node) -> tuple[int, int]:
        """Height and width of a node's maps; 1 x 1 for vectors."""
        shape = self.shapes[node]
        return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)

    def rows(self, node: Node) -> Tensor:
        """A node's value on all places of all images, (N H W, K)."""
        if node not in self._rows:
            value = self.values[node]
            self._rows[node] = value.movedim(1, -1).flatten(0, -2).contiguous()
        return self._rows[node]

    def taps(self, node: Node, weight: Tensor) -> Tensor:
        """A convolution's weight (O, K / groups, kh, kw) as (kh, kw, O, K / groups), each tap for a matrix product."""
        if node not in self._taps:
            taps = weight.detach().permute(2, 3, 0, 1)
            self._taps[node] = taps if taps.stride(3) == 1 else taps.contiguous()
        return self._taps[node]


class Rule(ABC):
    """A local operation; `rule(changes, base)` is its change from those of its operands that change, in their order.

    Attributes:
        node: node of the operation.
        keeps: nodes whose values without the change it needs.
    """

    def __init__(self, node: Node, keeps: Sequence[Node] = ()) -> None:
        self.node, self.keeps = node, tuple(keeps)

    @abstractmethod
    def __call__(self, changes: Sequence[Change], base: Base) -> Change: ...

    def _run(self, base: Base, values: dict[Node, Tensor], root: nn.Module) -> Tensor:
        """The operation itself on other values of some of its operands."""
        args, kwargs = fx.map_arg((self.node.args, self.node.kwargs), lambda n: values.get(n, base.values.get(n)))
        if self.node.op == "call_module":
            result: Tensor = root.get_submodule(str(self.node.target))(*args, **kwargs)
        elif self.node.op == "call_method":
            result = getattr(args[0], str(self.node.target))(*args[1:], **kwargs)
        else:
            result = self.node.target(*args, **kwargs)  # type: ignore[operator]
        return result


class _Same(Rule):
    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        return replace(changes[0], rows=changes[0].rows if changes[0].spent else changes[0].rows.clone())


class _Convolution(Rule):
    def __init__(self, node: Node, module: nn.Conv2d) -> None:
        super().__init__(node)
        self.module = module
        padding = module._reversed_padding_repeated_twice  # (left, right, top, bottom), "same" resolved
        pairs = [_pair(given) for given in (module.kernel_size, module.stride, module.dilation)]
        self.window = Window(pairs[0], pairs[1], (padding[2], padding[0]), pairs[2])

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        groups, taps = self.module.groups, base.taps(self.node, self.module.weight)
        change = changes[0] if groups == 1 else changes[0].expanded(self.module.in_channels)
        if self.window.pointwise:
            return Change(change.regions, _product(change, None, taps[0, 0], groups), spent=True)
        regions = self.window.reached(change.regions, base.size(self.node))
        rows = change.rows.new_zeros(len(regions.patch), taps.shape[2])
        for i, j, source, target in self.window.pairs(change.regions, regions):
            rows.index_add_(0, target, _product(change, source, taps[i, j], groups))
        return Change(regions, rows, spent=True)


def _product(change: Change, source: Tensor | None, weight: Tensor, groups: int) -> Tensor:
    """Product of a change's rows, all or some, with one tap of a convolution's weight (O, K / groups): (R, O)."""
    rows = change.rows if source is None else change.rows[source]
    if change.channel is not None:
        patch = change.regions.patch if source is None else change.regions.patch[source]
        return weight[:, change.channel].t()[patch] * rows
    if groups == 1:
        return rows @ weight.t()
    if weight.shape[1] == 1:  # depthwise
        return (rows[:, :, None] * weight.view(1, groups, -1)).flatten(1)
    return torch.einsum("rgk,gok->rgo", rows.unflatten(1, (groups, -1)), weight.unflatten(0, (groups, -1))).flatten(1)


class _Scale(Rule):
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


class _Pointwise(Rule):
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
        regions = change.regions
        if change.channel is None:
            old = all_rows[regions.place]
        else:
            old = all_rows[regions.place, change.channel[regions.patch]][:, None]
        new = change.rows.add_(old) if change.spent else change.rows + old
        if self.relu:
            return replace(change, rows=new.relu_().sub_(old.relu_()), spent=True)
        new = self._run(base, {self.operand: new}, self.root) - self._run(base, {self.operand: old}, self.root)
        return replace(change, rows=new, spent=True)


class _MaxPool(Rule):
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


class _AveragePool(Rule):
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


class _Mean(Rule):
    """The mean over all places."""

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change, (height, width) = changes[0], changes[0].regions.size
        rows = change.rows.new_zeros(len(change.regions), change.rows.shape[1])
        rows.index_add_(0, change.regions.patch, change.rows)
        return Change(Regions.whole((1, 1), change.regions.image), rows.div_(height * width), change.channel, True)


class _Flatten(Rule):
    """Maps as vectors."""

    def __init__(self, node: Node, operand: Node) -> None:
        super().__init__(node)
        self.operand = operand

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        maps = changes[0].maps(base.shapes[self.operand][1])
        return Change(Regions.whole((1, 1), changes[0].regions.image), maps.flatten(1), spent=True)


class _Linear(Rule):
    def __init__(self, node: Node, module: nn.Linear) -> None:
        super().__init__(node)
        self.module = module

    def __call__(self, changes: Sequence[Change], base: Base) -> Change:
        change = changes[0].expanded(self.module.in_features)
        return Change(change.regions, change.rows @ self.module.weight.t(), spent=True)


class _Sum(Rule):
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


class _Elementwise(Rule):
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


class _Concatenation(Rule):
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


def local_rule(node: Node, operands: Sequence[Node], root: nn.Module, shapes: dict[Node, torch.Size]) -> Rule | None:
    """The rule of a node's operation; None where a change on few places reaches all, or the operation is unknown.

    Args:
        operands: the operands that change, as often as they occur.
        root: module that the graph's targets refer to.
        shapes: shape of each value that is a tensor, up to the node's.
    """
    involved = [shapes.get(value, torch.Size()) for value in (*operands, node)]
    if any(len(shape) not in (2, 4) or shape[0] != involved[0][0] for shape in involved):
        return None
    alone = list(operands) == [node.args[0] if node.args else node.kwargs.get("input")]
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    if alone:
        return _rule_of_one(node, operands[0], module, root, shapes)
    name, whole = operation(node), all(shapes[operand] == shapes[node] for operand in operands)
    if name in ("cat", "concat", "concatenate"):
        return _concatenation(node, operands, shapes)
    if name in ("add", *_SUMS):
        return _sum(node, operands) if whole else None
    return _Elementwise(node, operands, root) if name in _ELEMENTWISE and whole else None


def _rule_of_one(
    node: Node, operand: Node, module: nn.Module | None, root: nn.Module, shapes: dict[Node, torch.Size]
) -> Rule | None:
    """The rule of an operation on one changing operand, its first."""
    name, before, after = operation(node), shapes[operand], shapes[node]
    if isinstance(module, nn.Conv2d):
        return _Convolution(node, module) if module.padding_mode == "zeros" else None
    if isinstance(module, nn.Linear):
        return _Linear(node, module) if len(before) == 2 else None
    if isinstance(module, batchnorm._BatchNorm):
        return None if module.running_mean is None else _Scale(node, module)
    same = isinstance(module, nn.Identity | dropout._DropoutNd) or name in _SAME
    if same or (name is not None and "dropout" in name and node.kwargs.get("training") is False):
        return _Same(node)
    if isinstance(module, nn.Flatten) or name in _RESHAPES:
        if before == after:
            return _Same(node)
        return _Flatten(node, operand) if after == (before[0], before[1:].numel()) else None
    if isinstance(module, POINTWISE_MODULES) or name in POINTWISE:
        mixing = isinstance(module, nn.PReLU)
        return _Pointwise(node, operand, root, mixing) if _constants(node, operand) else None
    if node.target is F.batch_norm:
        training = node.args[5] if len(node.args) > 5 else node.kwargs.get("training", False)
        return _Pointwise(node, operand, root, True) if not training and _constants(node, operand) else None
    if len(before) == 4 and name == "mean" and "dtype" not in node.kwargs:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        over = {int(dim) % 4 for dim in dims} if isinstance(dims, list | tuple) else None
        return _Mean(node) if over == {2, 3} else None
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) or name == "adaptive_avg_pool2d":
        if before == after:
            return _Same(node)
        return _Mean(node) if after[2:] == (1, 1) and not isinstance(module, nn.AdaptiveMaxPool2d) else None
    if isinstance(module, nn.MaxPool2d) or node.target is F.max_pool2d:
        return _MaxPool(node, operand, _pooling(node, module))
    if isinstance(module, nn.AvgPool2d) or name == "avg_pool2d":
        return _AveragePool(node, operand, _pooling(node, module), root)
    if name in ("add", *_SUMS):
        return _sum(node, [operand]) if before == after else None
    if name in ("cat", "concat", "concatenate"):
        return _concatenation(node, [operand], shapes)
    return _Elementwise(node, [operand], root) if name in _ELEMENTWISE and before == after else None


def _constants(node: Node, operand: Node) -> bool:
    return all(other is operand or other.op == "get_attr" for other in node.all_input_nodes)


def _sum(node: Node, operands: Sequence[Node]) -> _Sum | None:
    if len(node.args) != 2 or node.kwargs:  # alpha
        return None
    signs = [1, _SUMS[str(operation(node))]]
    return _Sum(node, [sign for argument, sign in zip(node.args, signs, strict=True) if argument in operands])


def _concatenation(node: Node, operands: Sequence[Node], shapes: dict[Node, torch.Size]) -> _Concatenation | None:
    parts: Any = node.args[0] if node.args else node.kwargs.get("tensors")
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    along_channels = isinstance(dim, int) and dim % len(shapes[node]) == 1
    if not along_channels or not isinstance(parts, list | tuple):
        return None
    return _Concatenation(node, parts, operands)


def _pooling(node: Node, module: nn.Module | None) -> Window:
    options = ["kernel_size", "stride", "padding", "dilation"]
    if module is not None:
        given = {name: getattr(module, name) for name in options if hasattr(module, name)}
    else:
        places = options if node.target is F.max_pool2d else options[:3]
        given = dict(zip(places, node.args[1:], strict=False)) | dict(node.kwargs)
    kernel = _pair(given["kernel_size"])
    stride = given.get("stride")
    return Window(
        kernel, _pair(stride) if stride else kernel, _pair(given.get("padding", 0)), _pair(given.get("dilation", 1))
    )
