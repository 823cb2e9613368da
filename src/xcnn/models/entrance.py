"""How a head begins: operations on each channel by itself, then one affine map.

Zeroing a channel, or a location, of the features changes little of what a channelwise operation gives: that channel, or
the few places that see the location. From there to the first non-linearity the change is one matrix product, however
many ablations there are. VGG's last pooling and first linear layer, DenseNet's last normalisation, ReLU and pooled
classifier, the plain pooled classifier of a ResNet: all begin so.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.modules import activation, batchnorm, dropout, pooling
from torch.nn.modules.utils import _pair

from xcnn.models.split import Split, _between, _extract, _names, _operation, _sizes

__all__ = ["Entrance", "entrance"]

_POINTWISE_MODULES = (
    *(activation.ReLU, activation.ReLU6, activation.LeakyReLU, activation.PReLU, activation.ELU, activation.SELU),
    *(activation.CELU, activation.GELU, activation.SiLU, activation.Mish, activation.Hardswish, activation.Softplus),
    *(activation.Hardsigmoid, activation.Hardtanh, activation.Sigmoid, activation.Tanh, nn.Identity),
    *(dropout._DropoutNd, batchnorm.BatchNorm2d),
)
_POINTWISE = _names(
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish softplus hardsigmoid hardtanh sigmoid tanh"
)
_POOLINGS = (F.max_pool2d, F.avg_pool2d)


@dataclass(frozen=True)
class _Step:
    """What a channelwise operation looks at: a window, cells of an adaptive pooling, or only the same place."""

    window: tuple[int, int] | None = None
    cells: tuple[int | None, int | None] | None = None
    overlapping: bool = False

    def strides(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """How many rows and columns make one of the result; None where a place is seen by several results."""
        if self.overlapping:
            return None
        if self.window:
            return self.window
        if self.cells:
            cells = [old if new is None else new for old, new in zip(size, self.cells, strict=True)]
            if any(old % new for old, new in zip(size, cells, strict=True)):
                return None
            return size[0] // cells[0], size[1] // cells[1]
        return 1, 1


class Entrance:
    """The beginning of a head: `split.head(features)` is `self.split.head(self.lead(features))`.

    Attributes:
        split: the network cut after the channelwise operations.
        linear: the layer that the flattened maps of that cut go into, if the way to the logits is not affine as a
            whole; then `rest` takes its output to the logits.
    """

    def __init__(self, split: Split, steps: list[_Step], lead: fx.GraphModule, linear: tuple[nn.Linear, Node] | None):
        self.split, self._steps, self._lead = split, steps, lead
        self.linear = linear[0] if linear else None
        self._after = linear[1] if linear else None

    def lead(self, features: Tensor) -> Tensor:
        """What the channelwise operations give, (N, K, h, w) to (N, K, h', w')."""
        return self._lead(features) if self._steps else features

    @functools.cached_property
    def rest(self) -> fx.GraphModule:
        """From the linear layer's output, (N, units), to the logits."""
        assert self._after is not None
        return fx.GraphModule(self.split.root, _extract([self._after], self.split._logits))

    def strides(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """How many rows and columns of maps of this size go into one place after `lead`; None where they overlap."""
        rows = columns = 1
        for step in self._steps:
            found = step.strides(size)
            if found is None:
                return None
            rows, columns = rows * found[0], columns * found[1]
            size = size[0] // found[0], size[1] // found[1]
        return rows, columns


def entrance(split: Split) -> Entrance | None:
    """The shortest channelwise beginning of the head after which it is affine or enters a linear layer, if there is."""
    root, logits = split.root, split._logits
    cut = here = split._cut
    needed, sizes = _between([cut], [logits]), _sizes(cut.graph)
    steps: list[_Step] = []
    while split._placeholder not in _between([here], [logits]):  # a size from before `here` may be needed after it
        after = split if here is cut else Split(split.layer, root, here.graph, here)
        linear = None if after.affine else _linear(after, here)
        if after.affine or linear:
            lead = fx.GraphModule(root, _extract([cut], here))
            return Entrance(after, steps, lead, linear)
        users = [user for user in here.users if user in needed and user not in sizes]
        step = _step(users[0], root) if len(users) == 1 else None
        if step is None:
            return None
        steps.append(step)
        here = users[0]
    return None


def _linear(split: Split, cut: Node) -> tuple[nn.Linear, Node] | None:
    """The linear layer that flattened maps enter, with the node of its output."""
    here, sizes = cut, _sizes(cut.graph)
    flat: bool = False
    while len(users := [user for user in here.users if user not in sizes]) == 1:
        node = users[0]
        module = split.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        if node.args[:1] != (here,) or any(operand not in sizes for operand in node.all_input_nodes[1:]):
            return None
        if isinstance(module, nn.Linear):
            alone = split._placeholder not in _between([node], [split._logits])
            return (module, node) if flat and alone else None
        if isinstance(module, nn.Flatten):
            flat = bool(module.start_dim == 1 and module.end_dim == -1)
        elif module is None and _operation(node) == "flatten":
            flat = (*node.args[1:], *node.kwargs.values()) in ((1,), (1, -1))
        elif module is None and _operation(node) in ("view", "reshape"):
            flat = node.args[2:] == (-1,)  # x.view(x.size(0), -1)
        elif not isinstance(module, nn.Identity | dropout._DropoutNd):
            return None
        here = node
    return None


def _step(node: Node, root: nn.Module) -> _Step | None:
    """What an operation is if it treats each channel by itself; None if it does not, or nobody knows."""
    if len(node.all_input_nodes) != 1 or node.args[:1] != (node.all_input_nodes[0],):
        return None
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        if isinstance(module, batchnorm.BatchNorm2d) and module.running_mean is None:
            return None
        if isinstance(module, _POINTWISE_MODULES):
            return _Step()
        if isinstance(module, pooling.AdaptiveAvgPool2d | pooling.AdaptiveMaxPool2d):
            return None if getattr(module, "return_indices", False) else _Step(cells=_pair(module.output_size))
        if isinstance(module, pooling.MaxPool2d | pooling.AvgPool2d):
            if getattr(module, "return_indices", False):
                return None
            dilation = getattr(module, "dilation", 1)
            return _pool(module.kernel_size, module.stride, module.padding, dilation, module.ceil_mode)
        return None
    if _operation(node) in _POINTWISE:
        return _Step()
    if node.target is F.adaptive_avg_pool2d or _operation(node) == "adaptive_avg_pool2d":
        size = node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size")
        return _Step(cells=_pair(size)) if isinstance(size, int | tuple) else None
    if node.target in _POOLINGS or _operation(node) == "avg_pool2d":
        names = ("kernel_size", "stride", "padding", "dilation" if node.target is F.max_pool2d else "ceil_mode")
        given: dict[str, Any] = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
        kernel = given["kernel_size"]
        if len(node.args) > 5:
            return None
        stride = given.get("stride") or kernel
        return _pool(kernel, stride, given.get("padding", 0), given.get("dilation", 1), given.get("ceil_mode", False))
    return None


def _pool(kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> _Step:
    window = _pair(kernel)
    plain = window == _pair(stride) and _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode
    return _Step(window=window) if plain else _Step(overlapping=True)
