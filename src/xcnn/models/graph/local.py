"""The rule by which a change on few places of the maps passes through an operation that looks at a window of them.

A change is what is to be added to the value that an operation had without it. So an affine operation needs nothing but
the change; any other also needs its value without the change, on those places only.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Node
from torch.nn.modules import activation, batchnorm, dropout
from torch.nn.modules.utils import _pair

from xcnn.models.graph import rules
from xcnn.models.graph.convolution import Convolution
from xcnn.models.graph.regions import Window
from xcnn.models.graph.rule import Rule
from xcnn.models.graph.subgraph import names, operation

__all__ = ["POINTWISE", "POINTWISE_MODULES", "local_rule"]

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
    return rules.Elementwise(node, operands, root) if name in _ELEMENTWISE and whole else None


def _rule_of_one(
    node: Node, operand: Node, module: nn.Module | None, root: nn.Module, shapes: dict[Node, torch.Size]
) -> Rule | None:
    """The rule of an operation on one changing operand, its first."""
    name, before, after = operation(node), shapes[operand], shapes[node]
    if isinstance(module, nn.Conv2d):
        return Convolution(node, module) if module.padding_mode == "zeros" else None
    if isinstance(module, nn.Linear):
        return rules.Linear(node, module) if len(before) == 2 else None
    if isinstance(module, batchnorm._BatchNorm):
        return None if module.running_mean is None else rules.Scale(node, module)
    same = isinstance(module, nn.Identity | dropout._DropoutNd) or name in _SAME
    if same or (name is not None and "dropout" in name and node.kwargs.get("training") is False):
        return rules.Same(node)
    if isinstance(module, nn.Flatten) or name in _RESHAPES:
        if before == after:
            return rules.Same(node)
        return rules.Flatten(node, operand) if after == (before[0], before[1:].numel()) else None
    if isinstance(module, POINTWISE_MODULES) or name in POINTWISE:
        mixing = isinstance(module, nn.PReLU)
        return rules.Pointwise(node, operand, root, mixing) if _constants(node, operand) else None
    if node.target is F.batch_norm:
        training = node.args[5] if len(node.args) > 5 else node.kwargs.get("training", False)
        return rules.Pointwise(node, operand, root, True) if not training and _constants(node, operand) else None
    if len(before) == 4 and name == "mean" and "dtype" not in node.kwargs:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        over = {int(dim) % 4 for dim in dims} if isinstance(dims, list | tuple) else None
        return rules.Mean(node) if over == {2, 3} else None
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) or name == "adaptive_avg_pool2d":
        if before == after:
            return rules.Same(node)
        return rules.Mean(node) if after[2:] == (1, 1) and not isinstance(module, nn.AdaptiveMaxPool2d) else None
    if isinstance(module, nn.MaxPool2d) or node.target is F.max_pool2d:
        return rules.MaxPool(node, operand, _pooling(node, module))
    if isinstance(module, nn.AvgPool2d) or name == "avg_pool2d":
        return rules.AveragePool(node, operand, _pooling(node, module), root)
    if name in ("add", *_SUMS):
        return _sum(node, [operand]) if before == after else None
    if name in ("cat", "concat", "concatenate"):
        return _concatenation(node, [operand], shapes)
    return rules.Elementwise(node, [operand], root) if name in _ELEMENTWISE and before == after else None


def _constants(node: Node, operand: Node) -> bool:
    return all(other is operand or other.op == "get_attr" for other in node.all_input_nodes)


def _sum(node: Node, operands: Sequence[Node]) -> rules.Sum | None:
    if len(node.args) != 2 or node.kwargs:  # alpha
        return None
    signs = [1, _SUMS[str(operation(node))]]
    return rules.Sum(node, [sign for argument, sign in zip(node.args, signs, strict=True) if argument in operands])


def _concatenation(node: Node, operands: Sequence[Node], shapes: dict[Node, torch.Size]) -> rules.Concatenation | None:
    parts: Any = node.args[0] if node.args else node.kwargs.get("tensors")
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    along_channels = isinstance(dim, int) and dim % len(shapes[node]) == 1
    if not along_channels or not isinstance(parts, list | tuple):
        return None
    return rules.Concatenation(node, parts, operands)


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
