"""Rules of DeepLIFT (Shrikumar et al. 2017): multipliers of differences to a reference.

With d meaning the difference to the reference's value, a rule gives m of the operands such that sum m_x dx = m dy: the
contributions of the images add up to the difference of the logits.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from xcnn.attribution.backward.calls import Call
from xcnn.attribution.backward.operations import derivative
from xcnn.attribution.backward.rules import norm_parts, over, rule, scatter
from xcnn.attribution.backward.walk import Sent, Values

__all__ = ["rescale", "reveal_cancel"]


def _pair(values: Values) -> tuple[Tensor, Tensor]:
    assert values.reference is not None
    return values.inputs[0], values.reference.inputs[0]


@rule("inputs")
def rescale(call: Call, m: Tensor, values: Values) -> Sent:
    """m dy / dz; where dz is nearly 0, the derivative halfway, which is as near.

    A ReLU's dy / dz is max(z, z0) / |dz|, brought into [0, 1].
    """
    z, z0 = _pair(values)
    step = z - z0
    if call.kind == "relu":
        distance = step.abs_().add_(torch.finfo(z.dtype).tiny)
        return (torch.maximum(z, z0).div_(distance).clamp_(0, 1).mul_(m),)
    near = step.abs() <= torch.finfo(z.dtype).eps ** 0.5 * (z.abs() + z0.abs())
    slope = (values.run(z) - values.run(z0)) / step.masked_fill(near, 1)
    if near.any():
        slope = torch.where(near, derivative(values.run, (z + z0) / 2), slope)
    return (m * slope,)


@rule("inputs", "before", joins=True)
def reveal_cancel(call: Call, m: Tensor, values: Values) -> Sent:
    """Slopes of its own for the positive and the negative part of dz (eqs. 23-25), where the map feeds only this.

    The parts are (dz +- |W||dx|) / 2; then the multiplier is W+^T m+ + W-^T m- where dx > 0, with W+ and W- changing
    places where dx < 0, and the mean of the two where dx = 0: (W^T (m+ + m-) + sign(dx) |W|^T (m+ - m-)) / 2.
    """
    if call.linear is None:
        return rescale(call, m, values)
    x, x0 = _pair(values)
    assert values.reference is not None
    linear, z, z0 = values.linear, values.before, values.reference.before
    dx = x - x0
    spread = linear.apply(dx.abs(), linear.weight.abs())
    rise, fall = _changes(values.run, z, z0, spread)
    rising = over(rise, _part(z, z0, spread, 1), spread).mul_(m)
    falling = over(fall, _part(z, z0, spread, -1), spread).mul_(m)
    signed = linear.transpose(rising + falling, values.shapes[0])
    parts = linear.transpose(rising.sub_(falling), values.shapes[0], linear.weight.abs())
    return ((signed + dx.sign() * parts) / 2,)


def _part(z: Tensor, z0: Tensor, spread: Tensor, sign: int) -> Tensor:
    """The positive or the negative part of z - z0: formed anew each time, as it takes more memory than time."""
    return (z - z0).add_(spread, alpha=sign).div_(2)


def _changes(f: Callable[[Tensor], Tensor], z: Tensor, z0: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Of f by the positive and by the negative part of z - z0, each the mean of both orders of adding them."""
    upper, lower = (f(_part(z, z0, spread, sign).add_(z0)) for sign in (1, -1))
    start, end = f(z0), f(z)
    rise = (upper - start).add_(end).sub_(lower).div_(2)
    return rise, lower.sub_(start).add_(end).sub_(upper).div_(2)


@rule("inputs", "output", "indices")
def argmax_difference(call: Call, m: Tensor, values: Values) -> Sent:
    """m dy to the image's maximum where that is the greater, else to the reference's; overlapping windows add up.

    There the operand's own difference is at least as large as dy and of its sign, so that dy / dx is in [0, 1].
    """
    x, x0 = _pair(values)
    assert values.reference is not None
    y, y0, shape = values.output, values.reference.output, values.shapes[0]
    indices = torch.where(y >= y0, values.indices, values.reference.indices)
    at = (x - x0).flatten(2).gather(2, indices.flatten(2).long()).view_as(y)
    share = torch.where(at == 0, 1, (y - y0) / at.where(at != 0, 1))
    return (scatter(m * share, indices, shape),)


@rule("inputs")
def product_difference(call: Call, m: Tensor, values: Values) -> Sent:
    """d(xg) = (g + g0) / 2 dx + (x + x0) / 2 dg."""
    assert values.reference is not None
    a, b = ((now + then) / 2 for now, then in zip(values.inputs, values.reference.inputs, strict=True))
    return (m * b).sum_to_size(values.shapes[0]), (m * a).sum_to_size(values.shapes[1])


@rule("inputs")
def norm_difference(call: Call, m: Tensor, values: Values) -> Sent:
    """LayerNorm or GroupNorm: centring, square, mean, reciprocal root and product in turn, each exact.

    There is no division by a difference.
    """
    shape, dims, weight, eps = norm_parts(call, values)
    x, x0 = values.inputs[0].reshape(shape), _pair(values)[1].reshape(1, *shape[1:])
    m = (m if weight is None else m * weight).reshape(shape)
    c, c0 = (each - each.mean(dims, keepdim=True) for each in (x, x0))
    r, r0 = ((each.square().mean(dims, keepdim=True) + eps).rsqrt() for each in (c, c0))
    to_root = (m * (c + c0) / 2).sum(dims, keepdim=True)
    to_variance = -to_root * (r * r0) * (r * r0) / (r + r0)  # dr = r - r0 = -dv r^2 r0^2 / (r + r0)
    count = torch.Size(shape[d] for d in dims).numel()
    centred = m * (r + r0) / 2 + to_variance * (c + c0) / count
    return ((centred - centred.mean(dims, keepdim=True)).view(values.shapes[0]),)
