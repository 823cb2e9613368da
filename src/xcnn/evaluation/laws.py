"""The backward methods with the law that each keeps on any network, and how far one is from keeping it.

Of LRP: what reaches the pixels, and what biases, constants and epsilon take on the way, is Y.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm

from xcnn.attribution import (
    FEM,
    LRP,
    DeconvNet,
    DeepLIFT,
    DeepTaylor,
    Gradient,
    GuidedBackprop,
    GuidedGradCAM,
    IntegratedGradients,
    Method,
    SmoothGrad,
    WalkMethod,
)
from xcnn.attribution.backward import Call, Values
from xcnn.attribution.backward.calls import function_of
from xcnn.errors import UserError
from xcnn.models import cuttable_layers, split_at

Law = Callable[[nn.Module, Tensor, Tensor], float]  # (network, images, targets) -> relative error


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


@torch.no_grad()
def without_biases(network: nn.Module) -> nn.Module:
    """The network with all biases and shifts at 0, so that relevance has nowhere else to go than the pixels."""
    for module in network.modules():
        if isinstance(module, batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.zero_()
        if isinstance(getattr(module, "bias", None), Tensor):
            module.get_parameter("bias").zero_()
        if hasattr(module, "transform_input"):
            module.transform_input = False  # type: ignore[assignment]
    return network


def relevance_errors(found: Mapping[str, Tensor], images: Tensor, gradient: Tensor, scores: Tensor) -> dict[str, float]:
    """Of each tool: sum of relevance over the output, and error against input x gradient, on a network without biases.

    Guided backpropagation's error is the difference from ours, where ours does not refuse the network, and
    `gradient/...` the one from the gradient.

    Args:
        found: relevance (n, C, H, W) by `<method>/<tool>`.
        images, gradient: (n, C, H, W).
        scores: (n,), the output that is explained.
    """
    values: dict[str, float] = {}
    for name, relevance in found.items():
        if name.startswith("guided"):
            if "guided/ours" in found:
                values[f"error/{name}"] = relative(relevance, found["guided/ours"])
            values[f"gradient/{name}"] = relative(relevance, gradient)
        else:
            shares = relevance.sum((1, 2, 3)) / scores
            values[f"sum/{name}"] = shares[(shares - 1).abs().argmax()].item()
            values[f"error/{name}"] = relative(relevance, images * gradient)
    return values


def last_maps(network: nn.Module, images: Tensor) -> str:
    """The last layer that cuts the network and gives maps of more than one location."""
    for layer in reversed(cuttable_layers(network)):
        with torch.no_grad():
            features = split_at(network, layer).trunk(images[:1])
        if features.ndim == 4 and features.shape[2:].numel() > 1:
            return layer
    raise ValueError("no layer of the network gives maps")


@dataclass(frozen=True)
class Case:
    """A method, how it is made of a network, and its law with the words for it.

    Attributes:
        make: (network, images) -> method.
        law: None where there is none that bears on an arbitrary network.
        says: the law, in a line.
    """

    make: Callable[[nn.Module, Tensor], Method]
    law: Law | None = None
    says: str = "–"


def cases(steps: int, samples: int) -> dict[str, Case]:
    """The backward methods by name.

    Args:
        steps: of integrated gradients.
        samples: of SmoothGrad.
    """
    found = {
        "gradient": Case(lambda network, x: Gradient(network), _gradient, "the walk by derivatives is autograd's"),
        "deconvnet": Case(lambda n, x: DeconvNet(n, "all"), _positive(DeconvNet), POSITIVE),
        "guided_backprop": Case(lambda n, x: GuidedBackprop(n, "all"), _positive(GuidedBackprop), POSITIVE),
        "guided_grad_cam": Case(lambda n, x: GuidedGradCAM(n, last_maps(n, x), "all")),
        "integrated_gradients": Case(
            lambda n, x: IntegratedGradients(n, steps), _complete(steps), f"sum = Y(x) - Y(0), by {steps} steps"
        ),
        "smooth_grad": Case(lambda n, x: SmoothGrad(n, samples=samples), _smooth, "without noise the gradient"),
    }
    for composite in ("lrp_0", "lrp_epsilon"):
        found[composite] = _lrp(composite, "pixels + shares = Y")
    for composite in IGNORING:
        found[composite] = _lrp(composite, "pixels + shares = Y, biases ignored", "ignore")
    found["deep_taylor"] = Case(
        lambda n, x: DeepTaylor(n), lambda n, x, t: kept(DeepTaylor(n), x, t), "pixels + shares = Y"
    )
    for name, rule in (("deep_lift", "rescale"), ("deep_lift_reveal_cancel", "reveal_cancel")):
        make: Callable[..., Method] = lambda n, x, rule=rule: DeepLIFT(n, rule)  # noqa: E731
        found[name] = Case(make, _difference(rule), "sum = Y(x) - Y(x0)")
    return {**found, "fem": Case(lambda n, x: FEM(n, last_maps(n, x)))}


def _lrp(composite: str, says: str, bias: Any = None) -> Case:
    def law(network: nn.Module, images: Tensor, targets: Tensor) -> float:
        return kept(LRP(network, composite, bias), images, targets)

    return Case(lambda network, x: LRP(network, composite), law, says)


IGNORING = (
    *("lrp_epsilon_no_bias", "lrp_gamma", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "epsilon_gamma_box", "epsilon_plus"),
)
POSITIVE = "the gradient where nothing is negative"


def _gradient(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    try:
        walked = WalkMethod(network, "gradient").relevance(images, targets)
    except UserError:  # an operation without a rule, which autograd does not need
        return math.nan
    return relative(walked, Gradient(network).relevance(images, targets))


def _positive(kind: Callable[[nn.Module], WalkMethod]) -> Law:
    """Positive weights, inputs and shifts: all ReLUs are on, and no multiplier is negative.

    NaN where other activations, ReLUs with an upper end (which DeconvNet passes over), or norms of each image's own
    values break that.
    """

    def law(network: nn.Module, images: Tensor, targets: Tensor) -> float:
        try:
            method = kind(network)
        except UserError:
            return math.nan
        if any(isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.ReLU6) for module in network.modules()):
            return math.nan
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()
            for name, buffer in network.named_buffers():
                if name.endswith("running_mean"):
                    buffer.abs_().neg_()
        images = images.abs()
        return relative(method.relevance(images, targets), Gradient(network).relevance(images, targets))

    return law


def _smooth(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    found = SmoothGrad(network, samples=1, noise=0.0).relevance(images, targets)
    return relative(found, Gradient(network).relevance(images, targets))


def _complete(steps: int) -> Law:
    def law(network: nn.Module, images: Tensor, targets: Tensor) -> float:
        method = IntegratedGradients(network, steps)
        change = _change(method, images, torch.zeros_like(images[:1]), targets)
        return relative(method.relevance(images, targets).sum((1, 2, 3)), change)

    return law


def _difference(rule: Any) -> Law:
    def law(network: nn.Module, images: Tensor, targets: Tensor) -> float:
        baseline = 0.3 * images.flip(0)[:1] + 0.1
        method = DeepLIFT(network, rule, baseline)
        return relative(method.relevance(images, targets).sum((1, 2, 3)), _change(method, images, baseline, targets))

    return law


def _change(method: Method, images: Tensor, baseline: Tensor, targets: Tensor) -> Tensor:
    return (method.logits(images) - method.logits(baseline)).gather(1, targets[:, None])[:, 0]
