"""The law that LRP keeps: what reaches the pixels, and what biases, constants and epsilon take on the way, is Y."""

from typing import Any

import torch
from torch import Tensor

from xcnn.attribution import WalkMethod
from xcnn.attribution.backward import Call, Values
from xcnn.attribution.backward.calls import function_of


def relative(found: Tensor, expected: Tensor) -> float:
    """The greatest difference over the greatest absolute value expected."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def kept(method: WalkMethod, images: Tensor, targets: Tensor) -> float:
    """Error of: relevance of the pixels + shares of biases, constants and epsilon = the target's logit.

    It is relative to the greatest of the terms, whose rounding it is: shares may be far larger than the logit.
    """
    recorded, taken = method.walk.forward(images), list[Tensor]()
    recorded.targets = targets

    def watch(call: Call, m: Any, values: Values, sent: Any) -> None:
        share = _share(method.walk.rules[call.node], call, m, values)
        if share is not None:
            taken.append(share.flatten(1).sum(1))

    multiplier, relevance = recorded.send(watch=watch)
    terms = torch.stack([(images * multiplier + relevance).flatten(1).sum(1), *taken, -recorded.score])
    return (terms.sum(0).abs() / terms.abs().amax(0)).max().item()


def _share(rule: Any, call: Call, m: Any, values: Values) -> Tensor | None:
    """What does not go on to the operands, by each rule's formula: all of an empty side is lost."""
    name, options = function_of(rule).__name__, getattr(rule, "keywords", {})
    ignore = options.get("bias") == "ignore"
    if name == "constant_deviation":
        bias = values.argument(3, "bias")
        return (
            None if bias is None else m * (bias if call.kind == "layer_norm" else bias.view(-1, *(1,) * (m.ndim - 2)))
        )
    if name == "transpose":
        if call.linear is not None or call.norm is not None:
            return values.linear.bias(m) * m
        if isinstance(m, dict) or not all(isinstance(shape, torch.Size) for shape in values.shapes):
            return None  # parts of a tuple: no constant is added
        offset: Tensor = values.run(*(m.new_zeros(shape) for shape in values.shapes))
        return offset * m
    if name not in ("epsilon", "alpha_beta", "z_plus", "gamma"):
        return None
    z, linear = values.output, values.linear
    products, relevance = z - linear.bias(z), m * z
    if name == "epsilon":
        total = products if ignore else z
        stabilised = total + torch.where(total < 0, -1.0, 1.0).to(z) * options.get("epsilon", 1e-6)
        return relevance * (1 - products / stabilised)
    assert ignore, f"{name} with biases absorbed gives them a share that is not formed here"
    a, weight = values.inputs[0], linear.weight
    sides = (
        linear.apply(a.clamp(min=0), weight.clamp(min=0)) + linear.apply(a.clamp(max=0), weight.clamp(max=0)),
        linear.apply(a.clamp(min=0), weight.clamp(max=0)) + linear.apply(a.clamp(max=0), weight.clamp(min=0)),
    )
    up, down = (side != 0 for side in sides)
    if name == "gamma":
        return relevance * ~(up | down)
    alpha, beta = (1.0, 0.0) if name == "z_plus" else (options["alpha"], options["beta"])
    return relevance * (1 - alpha * up + beta * down)
