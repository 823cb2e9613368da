"""Operations of a traced network by kind, whatever module, function or method states them, and their evaluation."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.modules import batchnorm, conv, pooling

from xcnn.models.graph import OpaqueModule, TracedNetwork, is_affine, operation
from xcnn.models.graph.subgraph import names

__all__ = [
    "GATES",
    "KINDS",
    "NONNEGATIVE",
    "argument",
    "derivative",
    "evaluate",
    "gate_of",
    "keeps_sign",
    "kind_of",
    "place_of",
    "pooled_with_indices",
]

# Kinds of operations with a weight, of activations and of poolings. Any other that is affine is "affine".
_MODULES: tuple[tuple[Any, str], ...] = (
    (OpaqueModule, "opaque"),
    (conv._ConvNd, "convolution"),
    (nn.Linear, "linear"),
    (batchnorm._BatchNorm, "batch_norm"),
    (nn.LayerNorm, "layer_norm"),
    (nn.GroupNorm, "group_norm"),
    ((pooling._MaxPoolNd, pooling._AdaptiveMaxPoolNd), "max_pool"),
    *((getattr(nn, name), name.lower()) for name in ("ReLU", "ReLU6", "SiLU", "GELU", "Mish", "Sigmoid", "Tanh")),
    *((getattr(nn, name), name.lower()) for name in ("ELU", "CELU", "SELU", "Hardtanh", "Softplus", "Softsign")),
    *((getattr(nn, name), name.lower()) for name in ("PReLU", "Hardswish", "Hardsigmoid", "Softmax")),
    (nn.LeakyReLU, "leaky_relu"),
)
_FUNCTIONS = {
    **{f"conv{d}d": "convolution" for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": "convolution" for d in (1, 2, 3)},
    **{f"max_pool{d}d": "max_pool" for d in (1, 2, 3)},
    **{f"adaptive_max_pool{d}d": "max_pool" for d in (1, 2, 3)},
    **{name: name for name in ("linear", "batch_norm", "layer_norm", "group_norm", "relu", "relu6", "silu", "gelu")},
    **{name: name for name in ("sigmoid", "tanh", "celu", "selu", "hardtanh", "softplus", "softsign", "prelu")},
    **{name: name for name in ("hardswish", "hardsigmoid", "softmax", "leaky_relu", "mish", "elu")},
}
KINDS = frozenset([*_FUNCTIONS.values(), "affine", "gated", "multiply", "opaque"])
_PRODUCTS = ("mul", "multiply")
GATES = frozenset({"sigmoid", "hardsigmoid", "softmax"})
# Kinds whose result is never negative.
NONNEGATIVE = frozenset({"relu", "relu6", "softplus", *GATES})
# Linear in the first operand, and unknown to `is_affine`.
_LINEAR = ("interpolate", "upsample")
_RESAMPLED = (nn.Upsample, nn.ChannelShuffle)


def kind_of(node: Node, operands: list[Node], traced: TracedNetwork) -> str:
    """The kind of a node's operation: one of `KINDS`, or the operation's own name where there is no rule for it.

    Args:
        operands: the operands that depend on the images, as often as they occur.
    """
    module = traced.module(node)
    if module is not None:
        if getattr(module, "return_indices", False):
            return f"{type(module).__name__.lower()} with indices"
        found = next((kind for types, kind in _MODULES if isinstance(module, types)), None)
        if found is not None:
            return found
        affine = is_affine(node, operands, traced.root) or isinstance(module, _RESAMPLED)
        return "affine" if affine else type(module).__name__.lower()
    name = operation(node) or getattr(node.target, "__name__", str(node.target))
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if name == "clamp" and operands == list(node.args) and set(node.kwargs) == {"min"} and node.kwargs["min"] == 0:
        return "relu"
    if name in _PRODUCTS and len(operands) == 2:
        return "gated" if sum(_is_gate(operand, traced) for operand in operands) == 1 else "multiply"
    if name == "stochastic_depth" and argument(node, 3, "training") is False:
        return "affine"
    if is_affine(node, operands, traced.root) or (name in _LINEAR and operands == [node.args[0]]):
        return "affine"
    return str(name)


def _is_gate(node: Node, traced: TracedNetwork) -> bool:
    """Whether a value is a sigmoid's or softmax's, perhaps in another shape."""
    operands = node.all_input_nodes
    kind = kind_of(node, operands[:1], traced) if operands else ""
    return kind in GATES or (kind == "affine" and len(operands) == 1 and _is_gate(operands[0], traced))


def gate_of(operands: list[Node], traced: TracedNetwork) -> int:
    """Index of the gate among the two operands of a gated product."""
    return 0 if _is_gate(operands[0], traced) else 1


def place_of(node: Node) -> str:
    """Qualified name of the layer that an operation belongs to; "" for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [entry[0] if isinstance(entry, tuple) else entry for entry in stack.values()]
    name = str(node.target) if node.op == "call_module" else str(names[-1]) if names else ""
    return name.removeprefix("model").removeprefix(".")


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """An argument of a function's node, given by position or by name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def evaluate(node: Node, traced: TracedNetwork, values: Mapping[Node, Any]) -> Any:
    """The value of a node from those of its operands."""
    if node.op == "get_attr":
        found: Any = traced.root
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return found
    args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
    if node.op == "call_module":
        return traced.root.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def pooled_with_indices(node: Node, module: nn.Module | None, values: Mapping[Node, Any]) -> tuple[Tensor, Tensor]:
    """The value of a max pooling, and where in its plane (flat, int32) each maximum was taken."""
    if module is None:
        args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        function: Callable[..., Any] = node.target  # type: ignore[assignment]
        value, indices = function(*args, **{**kwargs, "return_indices": True})
        return value, indices.int()
    (operand,) = node.args
    images = values[operand]  # type: ignore[index]
    size = images.ndim - 2
    if isinstance(module, pooling._AdaptiveMaxPoolNd):
        value, indices = getattr(F, f"adaptive_max_pool{size}d")(images, module.output_size, return_indices=True)
    else:
        m: Any = module
        value, indices = getattr(F, f"max_pool{size}d")(
            images, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, return_indices=True
        )
    return value, indices.int()


def derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Derivative of a function of each element at the given values."""
    with torch.enable_grad():
        start = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(start).sum(), start)
    return slope


_SIGN_KEPT = frozenset({"max_pool", "gated", "multiply", "silu", "gelu", "hardswish", "mish", "leaky_relu"})
_SIGN_KEPT_FUNCTIONS = names(
    "cat concat concatenate stack add flatten reshape view permute transpose t squeeze unsqueeze movedim mean sum "
    "getitem narrow contiguous clone expand chunk split unbind flip roll avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d dropout stochastic_depth pixel_shuffle"
)
_SIGN_KEPT_MODULES = names(
    "AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d Flatten Unflatten Identity "
    "Dropout Dropout1d Dropout2d Dropout3d ZeroPad2d PixelShuffle ChannelShuffle"
)


def keeps_sign(node: Node, kind: str, operands: list[Node], traced: TracedNetwork) -> bool:
    """Whether an operation makes non-negative values of non-negative operands, whatever its constants are."""
    if kind != "affine":
        return kind in _SIGN_KEPT
    module = traced.module(node)
    if module is not None:
        return type(module).__name__ in _SIGN_KEPT_MODULES
    name = operation(node) or getattr(node.target, "__name__", "")
    constants = any(other.op == "get_attr" for other in node.all_input_nodes) or "alpha" in node.kwargs
    numbers = name == "add" and len(operands) < 2
    return name in _SIGN_KEPT_FUNCTIONS and not constants and not numbers
