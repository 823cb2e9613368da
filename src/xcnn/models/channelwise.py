"""The channelwise prefix of a head: operations on each channel by itself, up to an affine map.

Zeroing a channel, or a location, of the features changes little of a channelwise operation's output: that channel, or
the few places whose windows hold the location. From there to the first non-linearity the change is one matrix product,
however many ablations there are. The heads of VGG (a last pooling, then a linear layer), of DenseNet (a last
normalisation and ReLU, then a pooled classifier) and of ResNet (a pooled classifier) have such a prefix.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.modules import batchnorm, dropout, pooling
from torch.nn.modules.utils import _pair

from xcnn.models.graph import TracedNetwork, needed_nodes, operation, size_nodes
from xcnn.models.graph.local import POINTWISE, POINTWISE_MODULES
from xcnn.models.split import Split

__all__ = ["ChannelwisePrefix", "ChannelwiseStep", "channelwise_prefix", "channelwise_step"]

_POOLINGS = (F.max_pool2d, F.avg_pool2d)


@dataclass(frozen=True)
class ChannelwiseStep:
    """The part of a channel that one value of a channelwise operation's output depends on.

    Attributes:
        window: size of a pooling window whose stride is its size; None for other operations.
        cells: output size of an adaptive pooling, None for a side that stays as it is; None for other operations.
        overlapping: whether windows share locations or leave some out. With all three at their defaults the operation
            is pointwise.
    """

    window: tuple[int, int] | None = None
    cells: tuple[int | None, int | None] | None = None
    overlapping: bool = False

    def strides(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """Rows and columns of maps of this size behind each output value; None where windows overlap."""
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


class ChannelwisePrefix:
    """The channelwise prefix of a head: `split.head(features)` is `prefixed.split.head(prefixed.prefix(features))`.

    Args:
        split: the network cut after the prefix.
        steps: the channelwise operations, in order; none if the head needs no prefix.
        prefix: module that runs them.
        linear: the linear layer that follows, and the node of its output.

    Attributes:
        split: the network cut after the prefix.
        linear: the linear layer that takes the flattened output of the prefix, if the rest of the head is not affine
            as a whole; `rest` then takes its output to the logits. Otherwise None.
    """

    def __init__(
        self,
        split: Split,
        steps: list[ChannelwiseStep],
        prefix: fx.GraphModule,
        linear: tuple[nn.Linear, Node] | None,
    ):
        self.split, self._steps, self._prefix = split, steps, prefix
        self.linear = linear[0] if linear else None
        self._after = linear[1] if linear else None

    def prefix(self, features: Tensor) -> Tensor:
        """Output (N, K, h', w') of the channelwise operations on features (N, K, h, w)."""
        return self._prefix(features) if self._steps else features

    @functools.cached_property
    def rest(self) -> fx.GraphModule:
        """Module from the linear layer's output, (N, units), to the logits (N, classes)."""
        assert self._after is not None
        return self.split.network.subgraph([self._after], self.split.network.output)

    def strides(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """Rows and columns of maps of this size behind each value of the prefix's output; None where they overlap."""
        rows = columns = 1
        for step in self._steps:
            found = step.strides(size)
            if found is None:
                return None
            rows, columns = rows * found[0], columns * found[1]
            size = size[0] // found[0], size[1] // found[1]
        return rows, columns


def channelwise_prefix(split: Split) -> ChannelwisePrefix | None:
    """The shortest channelwise prefix of the head after which it is affine or enters a linear layer, if there is."""
    network, cut = split.network, split.cut
    here = cut
    needed, sizes = needed_nodes([cut], [network.output]), size_nodes(network.graph)
    steps: list[ChannelwiseStep] = []
    # A size from before `here` may be needed after it.
    while network.placeholder not in needed_nodes([here], [network.output]):
        after = split if here is cut else Split(network, split.layer, here)
        linear = None if after.affine else _linear(network, here)
        if after.affine or linear:
            return ChannelwisePrefix(after, steps, network.subgraph([cut], here), linear)
        users = [user for user in here.users if user in needed and user not in sizes]
        step = channelwise_step(network, users[0]) if len(users) == 1 else None
        if step is None:
            return None
        steps.append(step)
        here = users[0]
    return None


def _linear(network: TracedNetwork, cut: Node) -> tuple[nn.Linear, Node] | None:
    """The linear layer that the flattened maps of a cut enter, with the node of its output."""
    here, sizes = cut, size_nodes(network.graph)
    flat: bool = False
    while len(users := [user for user in here.users if user not in sizes]) == 1:
        node = users[0]
        module = network.module(node)
        if node.args[:1] != (here,) or any(operand not in sizes for operand in node.all_input_nodes[1:]):
            return None
        if isinstance(module, nn.Linear):
            alone = network.placeholder not in needed_nodes([node], [network.output])
            return (module, node) if flat and alone else None
        if isinstance(module, nn.Flatten):
            flat = bool(module.start_dim == 1 and module.end_dim == -1)
        elif module is None and operation(node) == "flatten":
            flat = (*node.args[1:], *node.kwargs.values()) in ((1,), (1, -1))
        elif module is None and operation(node) in ("view", "reshape"):
            flat = node.args[2:] == (-1,)  # x.view(x.size(0), -1)
        elif not isinstance(module, nn.Identity | dropout._DropoutNd):
            return None
        here = node
    return None


def channelwise_step(network: TracedNetwork, node: Node) -> ChannelwiseStep | None:
    """The windows of an operation that treats each channel by itself; None for all other and unknown operations."""
    if len(node.all_input_nodes) != 1 or node.args[:1] != (node.all_input_nodes[0],):
        return None
    module = network.module(node)
    if module is not None:
        if isinstance(module, batchnorm.BatchNorm2d) and module.running_mean is None:
            return None
        if isinstance(module, POINTWISE_MODULES):
            return ChannelwiseStep()
        if isinstance(module, pooling.AdaptiveAvgPool2d | pooling.AdaptiveMaxPool2d):
            return (
                None if getattr(module, "return_indices", False) else ChannelwiseStep(cells=_pair(module.output_size))
            )
        if isinstance(module, pooling.MaxPool2d | pooling.AvgPool2d):
            if getattr(module, "return_indices", False):
                return None
            dilation = getattr(module, "dilation", 1)
            return _pooling(module.kernel_size, module.stride, module.padding, dilation, module.ceil_mode)
        return None
    if operation(node) in POINTWISE:
        return ChannelwiseStep()
    if node.target is F.adaptive_avg_pool2d or operation(node) == "adaptive_avg_pool2d":
        size = node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size")
        return ChannelwiseStep(cells=_pair(size)) if isinstance(size, int | tuple) else None
    if node.target in _POOLINGS or operation(node) == "avg_pool2d":
        names = ("kernel_size", "stride", "padding", "dilation" if node.target is F.max_pool2d else "ceil_mode")
        given: dict[str, Any] = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
        kernel = given["kernel_size"]
        if len(node.args) > 5:
            return None
        stride = given.get("stride") or kernel
        return _pooling(
            kernel, stride, given.get("padding", 0), given.get("dilation", 1), given.get("ceil_mode", False)
        )
    return None


def _pooling(kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> ChannelwiseStep:
    window = _pair(kernel)
    plain = window == _pair(stride) and _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode
    return ChannelwiseStep(window=window) if plain else ChannelwiseStep(overlapping=True)
