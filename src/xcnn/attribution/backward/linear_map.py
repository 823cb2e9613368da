"""The linear map of a convolution, a linear layer or a BatchNorm, alone or as a pair, and its transpose."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.fx import Node
from torch.nn.modules import batchnorm, conv

from xcnn.attribution.backward.operations import argument
from xcnn.models.graph import TracedNetwork, operation

__all__ = ["LinearMap"]

Apply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
JOINED = 4  # inputs of a convolution, at most, for which the transposes of several weights are formed as one
PHASED = 6  # inputs of a convolution, at most, for which its transpose is a convolution for each phase of the stride


class LinearMap:
    """z = W a + b, with the weights as they are now.

    A BatchNorm after the map scales W's outputs and shifts b; its epsilon is in both. Alone it is a diagonal W.

    Args:
        apply: (a, W, b or None) -> W a + b; None for a BatchNorm alone.
        transposed: (m, W, shape of a) -> W^T m.
        weight: W without the BatchNorm.
        bias: b without the BatchNorm (outputs,), or None.
        channel_dim: dimension of the outputs in z; -1 for linear layers.
        norm: scale and shift (outputs,) of the BatchNorm that follows.
        inputs: number of W's inputs, where they are its second dimension and each output has all of them.
    """

    def __init__(
        self,
        apply: Apply | None,
        transposed: Callable[[Tensor, Tensor, torch.Size], Tensor] | None,
        weight: Tensor,
        bias: Tensor | None,
        channel_dim: int = 1,
        norm: tuple[Tensor, Tensor] | None = None,
        inputs: int | None = None,
    ) -> None:
        self._apply, self._transposed, self._weight = apply, transposed, weight
        self._dim, self._inputs = channel_dim, inputs
        self.scale = None
        if norm is not None:
            self.scale, shift = norm
            bias = shift if bias is None else bias * self.scale + shift
        self._bias = bias

    @classmethod
    def of(
        cls, traced: TracedNetwork, node: Node | None, norm: Node | None, constants: Mapping[Node, Any]
    ) -> "LinearMap":
        """The map of a convolution's or linear layer's node and of the BatchNorm after it, or of either alone."""
        parts = _norm(traced, norm, constants) if norm is not None else None
        if node is None:
            assert parts is not None
            return cls(None, None, *parts)
        module: Any = traced.module(node)
        if isinstance(module, conv._ConvTransposeNd) or (operation(node) or "").startswith("conv_transpose"):
            return _transposed_convolution(module, node, constants, parts)
        if module is not None:
            weight, bias = module.weight, module.bias
        else:
            weight = fx.map_arg(argument(node, 1, "weight"), constants.__getitem__)
            bias = fx.map_arg(argument(node, 2, "bias"), constants.__getitem__)
        if operation(node) == "linear" or isinstance(module, torch.nn.Linear):
            # The classes of a linear map are the last dimension.
            return cls(F.linear, lambda m, w, shape: m @ w, weight.detach(), _detached(bias), -1, parts)
        dims = weight.ndim - 2
        if module is not None:
            stride, padding, dilation, groups = module.stride, module.padding, module.dilation, module.groups
            padded = module.padding_mode != "zeros" or isinstance(padding, str)

            def apply(a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
                return module._conv_forward(a, w, b)
        else:
            stride, padding, dilation = (
                _tuple(argument(node, 3 + i, name, default), dims)
                for i, (name, default) in enumerate((("stride", 1), ("padding", 0), ("dilation", 1)))
            )
            groups = argument(node, 6, "groups", 1)
            padded = isinstance(padding, str)
            function = getattr(F, f"conv{dims}d")

            def apply(a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
                return function(a, w, b, stride, padding, dilation, groups)

        phased = dims == 2 and groups == 1 and len({*stride}) == len({*padding}) == 1 and {*dilation} == {1}
        conv_transpose = getattr(F, f"conv_transpose{dims}d")

        def transposed(m: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
            if phased and w.shape[1] <= PHASED and w.shape[2] == w.shape[3]:
                return _phase_by_phase(m, w, shape, stride[0], padding[0])
            reached = (  # of the operand, by the windows
                (out - 1) * step - 2 * pad + gap * (side - 1) + 1
                for out, step, pad, gap, side in zip(m.shape[2:], stride, padding, dilation, w.shape[2:], strict=True)
            )
            rest = [full - part for full, part in zip(shape[2:], reached, strict=True)]
            result: Tensor = conv_transpose(m, w, None, stride, padding, rest, groups, dilation)
            return result

        back = _by_autograd(apply) if padded else transposed
        return cls(apply, back, weight.detach(), _detached(bias), 1, parts, weight.shape[1] if groups == 1 else None)

    @property
    def weight(self) -> Tensor:
        """W with the BatchNorm folded in; of a BatchNorm alone the diagonal (channels,)."""
        if self.scale is None:
            return self._weight
        return self._weight * self.scale.view(-1, *(1,) * (self._weight.ndim - 1))

    def apply(self, a: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """W a + b with a weight and a bias (outputs,) in the place of W and b; without a bias where it is None."""
        if self._apply is not None:
            return self._apply(a, weight, bias)
        product = a * _along(weight, a, self._dim)
        return product if bias is None else product + _along(bias, a, self._dim)

    def transpose(self, m: Tensor, shape: torch.Size, weight: Tensor | None = None) -> Tensor:
        """W^T m, of a's shape, or with a weight in the place of W."""
        if weight is None:
            weight = self._weight
            if self.scale is not None:
                m = m * _along(self.scale, m, self._dim)
        if self._transposed is None:
            return m * _along(weight, m, self._dim)
        return self._transposed(m, weight, shape)

    def transpose_each(self, m: Tensor, shape: torch.Size, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """W^T m of a's shape for each of several weights in the place of W."""
        if self._inputs is not None and self._inputs <= JOINED:
            # So few inputs leave the processor idle: one transpose for all of them takes the time of one.
            joined = torch.Size((shape[0], self._inputs * len(weights), *shape[2:]))
            return self.transpose(m, joined, torch.cat(tuple(weights), 1)).chunk(len(weights), 1)
        return tuple(self.transpose(m, shape, weight) for weight in weights)

    @property
    def shift(self) -> Tensor | None:
        """b (outputs,); None where there is none."""
        return self._bias

    def bias(self, z: Tensor) -> Tensor:
        """b in a shape that can be added to z."""
        return z.new_zeros(()) if self._bias is None else _along(self._bias, z, self._dim)


def _norm(traced: TracedNetwork, node: Node, constants: Mapping[Node, Any]) -> tuple[Tensor, Tensor]:
    """Scale gamma / sigma and shift beta - gamma mu / sigma of a BatchNorm in evaluation mode."""
    module = traced.module(node)
    if isinstance(module, batchnorm._BatchNorm):
        mean, variance, weight, bias, eps = (
            *(module.running_mean, module.running_var, module.weight, module.bias),
            module.eps,
        )
    else:
        named = enumerate(("running_mean", "running_var", "weight", "bias"), 1)
        mean, variance, weight, bias = (fx.map_arg(argument(node, i, name), constants.__getitem__) for i, name in named)
        eps = argument(node, 7, "eps", 1e-5)
    assert mean is not None and variance is not None
    scale = (variance + eps).rsqrt() if weight is None else weight.detach() * (variance + eps).rsqrt()
    shift = -mean * scale if bias is None else bias.detach() - mean * scale
    return scale, shift


def _transposed_convolution(
    module: Any, node: Node, constants: Mapping[Node, Any], norm: tuple[Tensor, Tensor] | None
) -> LinearMap:
    """The map of a transposed convolution; its outputs are the weight's second dimension, so it folds nothing."""
    assert norm is None
    if module is not None:
        dims = module.weight.ndim - 2
        weight, bias = module.weight, module.bias
        rest = (module.stride, module.padding, module.output_padding, module.groups, module.dilation)
    else:
        weight, bias = fx.map_arg((argument(node, 1, "weight"), argument(node, 2, "bias")), constants.__getitem__)
        dims = weight.ndim - 2
        names = (("stride", 1), ("padding", 0), ("output_padding", 0), ("groups", 1), ("dilation", 1))
        rest = tuple(argument(node, 3 + i, *name) for i, name in enumerate(names))
    function = getattr(F, f"conv_transpose{dims}d")

    def apply(a: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        result: Tensor = function(a, w, b, *rest)
        return result

    return LinearMap(apply, _by_autograd(apply), weight.detach(), _detached(bias))


def _phase_by_phase(m: Tensor, weight: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """The transpose of a convolution as one convolution whose outputs are the phases of the stride.

    An input at s q + r - padding meets the weights at s t + r, t = 0 .. T - 1, of the outputs q - t. A fraction of the
    time of the transpose itself, where the inputs are the three channels of an image.
    """
    (outputs, inputs, side, _), s = weight.shape, stride
    taps = -(-side // s)
    end = taps * s - side
    phases = F.pad(weight, (0, end, 0, end)).view(outputs, inputs, taps, s, taps, s)
    phases = phases.permute(1, 3, 5, 0, 2, 4).reshape(inputs * s * s, outputs, taps, taps).flip(2, 3)
    result = F.pixel_shuffle(F.conv2d(m, phases, None, 1, taps - 1), s)
    height, width = shape[2:]
    right, below = padding + width - result.shape[3], padding + height - result.shape[2]
    return F.pad(result, (-padding, right, -padding, below))


def _by_autograd(apply: Apply) -> Callable[[Tensor, Tensor, torch.Size], Tensor]:
    def transposed(m: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        with torch.enable_grad():
            a = m.new_zeros(shape, requires_grad=True)
            return torch.autograd.grad(apply(a, w, None), a, m)[0]

    return transposed


def _along(values: Tensor, like: Tensor, dim: int) -> Tensor:
    """Values (channels,) to be broadcast along a dimension."""
    return values if dim == -1 else values.view(-1, *(1,) * (like.ndim - 2))


def _detached(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach()


def _tuple(value: Any, n: int) -> Any:
    return (value,) * n if isinstance(value, int) else value
