"""Rules of LRP, deep Taylor decomposition, guided backpropagation and DeconvNet: what an operation sends backwards.

A rule takes a call, the multiplier m of its result z and the values that it `needs`, and gives the multiplier of each
operand a. Of a linear map z = W a + b, with R = m z:

    transpose       W^T m                                                       LRP-0 (eq. 12), the gradient
    epsilon         W^T (R / (z + eps sign z))                                  eq. 13
    alpha_beta      R_a = sum (alpha (aw)+ / Z+  -  beta (aw)- / Z-) R          Z+-: sums of the parts (aw)+-, with b+-
    gamma           R_a = sum (aw + gamma (aw)+) / (z + gamma Z+) R             where z > 0; with (aw)- and Z- elsewhere
    squares, flat   R_a = sum w^2 / (sum w^2) R, and with 1 in the place of w^2
    box             R_a = sum (aw - l w+ - h w-) / (the sum of such) R          l <= a <= h

The parts of a product with either sign of a are (aw)+- = (aw +- |a||w|) / 2, so that one more map, by |W|, serves all.
With `bias="absorb"` b is in the denominators and takes its share (eq. 12); with "ignore" it is left out of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.attribution.backward.calls import Call
from xcnn.attribution.backward.operations import derivative
from xcnn.attribution.backward.walk import Relevance, Rule, Sent, Values
from xcnn.errors import UserError
from xcnn.models.graph import operation

__all__ = ["RULES", "over", "rule"]

RULES: dict[str, Rule] = {}  # by name
# Times the precision: a sum below that share of its terms is nothing but their rounding. Products of half precisions
# are summed in float32 and rounded once.
ROUNDING = {torch.float64: 64, torch.float32: 64}
FEW = 64  # products of an output, at most, whose sides are summed up by themselves


def rule(*needs: str, folds: bool = False, joins: bool = False, constant_gate: bool = False) -> Callable[[Any], Any]:
    """Enter a function in `RULES` by its name.

    Args:
        needs: what it reads of `Values`: "inputs", "output", "active", "indices", "before".
        folds: whether it takes a linear map together with the BatchNorm after it.
        joins: whether it takes an activation together with the linear map before it.
        constant_gate: whether it sends nothing to the gate of a product, so that what forms the gate needs no rules.
    """

    def enter(function: Any) -> Any:
        function.needs, function.folds, function.joins = frozenset(needs), folds, joins
        function.constant_gate = constant_gate
        RULES[function.__name__] = function
        return function

    return enter


def over(numerator: Tensor, denominator: Tensor, terms: Tensor) -> Tensor:
    """Quotients, in the numerator's memory; 0 where the denominator is but rounding of a sum of such absolute terms."""
    return numerator.div_(_signed_beyond_rounding(denominator, terms))


def _signed_beyond_rounding(values: Tensor, terms: Tensor) -> Tensor:
    """Values, and infinity in the place of those that are but rounding of a sum of such absolute terms."""
    return _beyond_rounding(values.abs(), terms).copysign_(values)


def _beyond_rounding(size: Tensor, terms: Tensor) -> Tensor:
    """Values that are not negative, and infinity in the place of those that are but rounding; in their memory."""
    least = ROUNDING.get(size.dtype, 2) * torch.finfo(size.dtype).eps
    return _beyond_zero(size.sub_(terms, alpha=least)).add_(terms, alpha=least)


def _beyond_zero(size: Tensor) -> Tensor:
    """Values that are not negative, and infinity in the place of 0; in their memory."""
    return F.threshold(size, 0.0, math.inf, inplace=True)


def _share(m: Tensor, z: Tensor, denominator: Tensor) -> Tensor:
    """m z over a denominator, in the denominator's memory: new memory costs more than the arithmetic."""
    return torch.div(z, denominator, out=denominator).mul_(m)


def _masked(m: Tensor, active: Tensor) -> Tensor:
    """m where a ReLU is on its slope, 0 elsewhere; a product with bytes takes a third of one with booleans."""
    return m * active.view(torch.uint8)


# Linear maps


@rule()
def transpose(call: Call, m: Any, values: Values) -> Sent:
    """W^T m of anything affine, with the BatchNorm's gamma / sigma."""
    if call.linear is not None or call.norm is not None:
        return (values.linear.transpose(m, values.shapes[0]),)
    name = operation(call.node)
    if name == "add" and not call.node.kwargs:
        return tuple(m.sum_to_size(shape) for shape in values.shapes)
    if name in ("flatten", "reshape", "view"):
        return (m.reshape(values.shapes[0]),)
    return values.transpose(m)


@rule("output", folds=True)
def epsilon(call: Call, m: Tensor, values: Values, epsilon: float = 1e-6, bias: str = "absorb") -> Sent:
    z, linear = values.output, values.linear
    if bias == "absorb":  # z / (z + eps sign z) = 1 - eps / (|z| + eps)
        size = z.abs().add_(epsilon)
        sent = torch.addcdiv(m, m, size, value=-epsilon, out=size)
    else:
        total = z - linear.bias(z)
        sent = _share(m, z, total + torch.full_like(total, epsilon).copysign_(total))
    return (linear.transpose(sent, values.shapes[0]),)


def _spread(values: Values, size: Tensor, nonnegative: bool, absorb: bool) -> Tensor:
    """Sum of the absolute products |a||w|, |w| being `size`, and of |b| where it is absorbed."""
    (a,), shift = values.inputs, values.linear.shift
    b = shift.abs() if absorb and shift is not None else None
    return values.linear.apply(a if nonnegative else a.abs(), size, b)


def _positive(values: Values, above: Tensor, absorb: bool) -> Tensor:
    """Z+ where no a is negative: W+ a, and b+ where it is absorbed."""
    shift = values.linear.shift
    return values.linear.apply(values.inputs[0], above, shift.clamp(min=0) if absorb and shift is not None else None)


def _sides(values: Values, weight: Tensor, size: Tensor, absorb: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Z+, -Z- and their sum where a is of either sign, |w| being `size`.

    That sum is of the absolute products, by one more map, and z is Z+ and Z- together. Of few products one side is
    often next to nothing, and a difference of the two no more than its rounding: then each is summed up by itself.
    """
    (a,), z, linear = values.inputs, values.output, values.linear
    if weight[0].numel() > FEW:
        total, spread = z if absorb else z - linear.bias(z), _spread(values, size, False, absorb)
        positive = torch.add(spread, total).div_(2)
        return positive, spread - positive, spread
    shift, (up, down) = linear.shift if absorb else None, (a.clamp(min=0), (-a).clamp(min=0))
    found = []
    for sign in (1, -1):
        with_a, against = (sign * weight).clamp(min=0), (-sign * weight).clamp(min=0)
        b = None if shift is None else (sign * shift).clamp(min=0)
        found.append(linear.apply(up, with_a, b) + linear.apply(down, against))
    return found[0], found[1], found[0] + found[1]


@rule("inputs", "output", folds=True)
def alpha_beta(
    call: Call, m: Tensor, values: Values, alpha: float = 2.0, beta: float = 1.0, bias: str = "absorb"
) -> Sent:
    (a,), z, linear, shape, absorb = values.inputs, values.output, values.linear, values.shapes[0], bias == "absorb"
    weight = linear.weight
    if call.nonnegative:  # half the work: no product is of W's other sign
        above = weight.clamp(min=0)
        positive = _positive(values, above, absorb)
        if not beta:
            return (linear.transpose(_share(m, z, _beyond_zero(positive)), shape, above.mul_(alpha)),)
        if weight[0].numel() > FEW:
            negative = positive - (z if absorb else z - linear.bias(z))
        else:
            _, negative, _ = _sides(values, weight, weight.abs(), absorb)
        down = _share(m, z, _beyond_rounding(negative, positive + negative))
        up = _share(m, z, _beyond_zero(positive))
        sent = linear.transpose(up, shape, above.mul_(alpha))
        below = torch.clamp(weight, max=0, out=above)
        return (sent.add_(linear.transpose(down, shape, below), alpha=beta),)
    size = weight.abs()
    positive, negative, terms = _sides(values, weight, size, absorb)
    up = _share(m, z, _beyond_rounding(positive, terms))
    if not beta:
        signed, parts = linear.transpose_each(up, shape, (weight, size))
        return ((signed + a.sign() * parts) * (alpha / 2),)
    up.mul_(alpha)
    down = _share(m, z, _beyond_rounding(negative, terms)).mul_(beta)
    signed = linear.transpose(torch.add(up, down, out=terms), shape, weight)
    parts = linear.transpose(up.sub_(down), shape, size)
    return ((signed + a.sign() * parts) / 2,)


@rule("inputs", "output", folds=True)
def z_plus(call: Call, m: Tensor, values: Values, bias: str = "absorb") -> Sent:
    """alpha_beta with alpha = 1 and beta = 0: the z+ rule of deep Taylor decomposition where a is not negative."""
    return alpha_beta(call, m, values, 1.0, 0.0, bias)


@rule("inputs", "output", folds=True)
def gamma(call: Call, m: Tensor, values: Values, gamma: float = 0.25, bias: str = "absorb") -> Sent:
    """With S the sum of absolute terms, z + gamma Z+ where z > 0 and z + gamma Z- elsewhere have the absolute value
    (1 + gamma / 2) |z| + gamma / 2 S, and z's sign.
    """
    z, linear, shape, absorb = values.output, values.linear, values.shapes[0], bias == "absorb"
    weight = linear.weight
    if call.nonnegative and call.masked and absorb:  # R is 0 wherever z is not above 0
        above = weight.clamp(min=0)
        positive = _positive(values, above, absorb)
        up = _share(m, z, _beyond_zero(torch.add(z, positive, alpha=gamma, out=positive)))
        return (linear.transpose(up, shape, above.mul_(gamma).add_(weight)),)
    total = z if absorb else z - linear.bias(z)
    size = weight.abs()
    spread = _spread(values, size, call.nonnegative, absorb)
    part = _share(m, z, _beyond_zero(spread.mul_(gamma / 2).add_(total.abs(), alpha=1 + gamma / 2)))
    parts = linear.transpose(part, shape, size)
    if not call.nonnegative:
        parts = parts * values.inputs[0].sign()
    signed = linear.transpose(total.sign().mul_(part), shape, weight)
    return (signed.mul_(1 + gamma / 2).add_(parts, alpha=gamma / 2),)


@rule("inputs", "output", folds=True)
def squares(call: Call, m: Tensor, values: Values) -> Sent:
    """The w^2 rule of deep Taylor decomposition."""
    return _weighted(values, m, values.linear.weight.square())


@rule("inputs", "output", folds=True)
def flat(call: Call, m: Tensor, values: Values) -> Sent:
    return _weighted(values, m, torch.ones_like(values.linear.weight))


def _weighted(values: Values, m: Tensor, weight: Tensor) -> Sent:
    total = values.linear.apply(torch.ones_like(values.inputs[0][:1]), weight)
    size = _beyond_zero(total).expand_as(m).clone()
    return (Relevance(values.linear.transpose(_share(m, values.output, size), values.shapes[0], weight)),)


@rule("inputs", "output", folds=True)
def box(
    call: Call,
    m: Tensor,
    values: Values,
    low: float | Sequence[float] | None = None,
    high: float | Sequence[float] | None = None,
) -> Sent:
    """The z-box rule; without bounds, each image's own least and greatest value."""
    (a,), z, linear = values.inputs, values.output, values.linear
    dims = tuple(range(1, a.ndim))
    least = a.amin(dims, keepdim=True) if low is None else _bound(low, a)
    greatest = a.amax(dims, keepdim=True) if high is None else _bound(high, a)
    weight = linear.weight
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    bounds = (_at(least, up, values), _at(greatest, down, values))
    terms = z - linear.bias(z)
    span = terms.clone()
    for factor, product in bounds:
        span.addcmul_(factor, product, value=-1)
    terms.abs_()
    for factor, product in bounds:
        terms.addcmul_(factor.abs(), product.abs())
    part = _share(m, z, _signed_beyond_rounding(span, terms))
    rising, falling = linear.transpose_each(part, values.shapes[0], (up, down))
    return (Relevance((a - least) * rising + (a - greatest) * falling),)


def _at(bound: Tensor, weight: Tensor, values: Values) -> tuple[Tensor, Tensor]:
    """W times a bound in the place of each input, as two factors: for one image where that serves all, else for 1."""
    one = values.inputs[0][:1]
    if len(bound) == 1:
        return bound.new_ones(()), values.linear.apply(bound.expand_as(one), weight)
    return bound, values.linear.apply(torch.ones_like(one), weight)


def _bound(bound: float | Sequence[float], like: Tensor) -> Tensor:
    """A bound of the inputs, one for all or one for each channel, to be broadcast to them, flattened or not."""
    found = torch.as_tensor(bound, dtype=like.dtype, device=like.device).reshape(-1)
    if like.shape[1] % len(found) or (like.ndim > 2 and len(found) not in (1, like.shape[1])):
        raise UserError(f"{len(found)} bounds for {like.shape[1]} channels; give one, or one for each channel.")
    if like.ndim == 2:
        found = found.repeat_interleave(like.shape[1] // len(found))
    return found.view(1, -1, *(1,) * (like.ndim - 2))


# Activations


@rule("active")
def mask(call: Call, m: Tensor, values: Values) -> Sent:
    """m where a ReLU is on its slope."""
    return (_masked(m, values.active),)


_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": torch.sigmoid,
    "gelu": lambda z: (1 + torch.erf(z / math.sqrt(2))) / 2,
    "hardswish": lambda z: F.relu6(z + 3) / 6,
    "mish": lambda z: F.softplus(z).tanh(),
}


@rule("inputs")
def gate(call: Call, m: Tensor, values: Values) -> Sent:
    """m g(z) of activations z g(z), without a division."""
    if call.kind == "gelu" and values.argument(1, "approximate", "none") != "none":
        return ratio(call, m, values)
    return (m * _GATES[call.kind](values.inputs[0]),)


@rule("inputs")
def ratio(call: Call, m: Tensor, values: Values) -> Sent:
    """m f(z) / z of an activation with f(0) = 0, and m f'(0) at 0."""
    z = values.inputs[0]
    at_zero = z == 0
    slope = values.run(z) / z.masked_fill(at_zero, 1)
    if at_zero.any():
        slope = torch.where(at_zero, derivative(values.run, torch.zeros_like(z)), slope)
    return (m * slope,)


@rule("inputs")
def slope(call: Call, m: Tensor, values: Values) -> Sent:
    """m f'(z): the gradient."""
    return (m * derivative(values.run, values.inputs[0]),)


@rule("active")
def guided(call: Call, m: Tensor, values: Values) -> Sent:
    """max(m, 0) where a ReLU is on its slope."""
    return (_masked(m.clamp(min=0), values.active),)


@rule("inputs")
def guided_slope(call: Call, m: Tensor, values: Values) -> Sent:
    """max(m, 0) f'(z), for activations that guided backpropagation does not speak of."""
    return (m.clamp(min=0) * derivative(values.run, values.inputs[0]),)


@rule()
def rectify(call: Call, m: Tensor, values: Values) -> Sent:
    """max(m, 0), whatever the activation did: DeconvNet."""
    return (m.clamp(min=0),)


# Poolings, products and normalisations


@rule("indices")
def argmax(call: Call, m: Tensor, values: Values) -> Sent:
    """m to where each maximum was taken; overlapping windows add up."""
    shape = values.shapes[0]
    return (scatter(m, values.indices, shape),)


def scatter(m: Tensor, indices: Tensor, shape: torch.Size) -> Tensor:
    """m at its places in planes (flat), of the shape of the pooling's operand."""
    dims = m.ndim - 2
    result = m.new_zeros(*shape[:2], shape[2:].numel())
    return result.scatter_add_(2, indices.flatten(2).long(), m.flatten(-dims)).view(shape)


@rule("inputs", constant_gate=True)
def constant_gate(call: Call, m: Tensor, values: Values) -> Sent:
    """The gate g is a constant: m g to the signal, nothing to the gate."""
    signal = 1 - call.gate
    sent = (m * values.inputs[call.gate]).sum_to_size(values.shapes[signal])
    return (sent, None) if signal == 0 else (None, sent)


@rule("inputs")
def product(call: Call, m: Tensor, values: Values) -> Sent:
    """Both factors vary: the gradient."""
    a, b = values.inputs
    return (m * b).sum_to_size(a.shape), (m * a).sum_to_size(b.shape)


@rule("inputs")
def constant_deviation(call: Call, m: Tensor, values: Values) -> Sent:
    """LayerNorm or GroupNorm with its deviation as a constant: the centring, transposed."""
    shape, dims, weight, eps = norm_parts(call, values)
    x = values.inputs[0].reshape(shape)
    m = (m if weight is None else m * weight).reshape(shape)
    scaled = m * (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    return ((scaled - scaled.mean(dims, keepdim=True)).view(values.shapes[0]),)


@rule("inputs")
def differentiate(call: Call, m: Tensor, values: Values) -> Sent:
    """The gradient of an operation on one operand, by autograd."""
    with torch.enable_grad():
        x = values.inputs[0].detach().requires_grad_()
        return torch.autograd.grad(values.run(x), (x,), m)


def norm_parts(call: Call, values: Values) -> tuple[torch.Size, tuple[int, ...], Tensor | None, float]:
    """Of a LayerNorm or GroupNorm: the shape in which it norms, the dimensions over which, weight and epsilon."""
    weight, eps = values.argument(2, "weight"), values.argument(4, "eps", 1e-5)
    weight, shape = None if weight is None else weight.detach(), values.shapes[0]
    if call.kind == "group_norm":
        groups = values.argument(1, "num_groups")
        rows = torch.Size((shape[0], groups, shape[1:].numel() // groups))
        return rows, (-1,), None if weight is None else weight.view(-1, *(1,) * (len(shape) - 2)), eps
    normed = values.argument(1, "normalized_shape")
    return shape, tuple(range(-1 if isinstance(normed, int) else -len(normed), 0)), weight, eps
