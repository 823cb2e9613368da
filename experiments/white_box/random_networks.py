"""Networks with random weights on noise, and the backward methods with the law that each of them keeps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from experiments.white_box.laws import kept, relative
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
from xcnn.errors import UserError
from xcnn.models import backbone, conv3, cuttable_layers, small_vgg16, split_at, vgg16_for

OWN: dict[str, Callable[..., nn.Module]] = {"conv3": conv3, "small_vgg16": small_vgg16, "vgg16_for": vgg16_for}
Law = Callable[[nn.Module, Tensor, Tensor], float]  # (network, images, targets) -> relative error


@torch.no_grad()
def random_network(name: str, n_classes: int, seed: int = 0, slim: bool = True) -> nn.Module:
    """A network of this project, of torchvision or of timm by its name, in eval mode.

    Weights are of the scale that keeps activations alive, and biases and statistics are not those of a new network,
    zeros and ones, which would hide what a method does with them.

    Args:
        slim: whether torchvision's VGGs get a classifier of 32 units, as the 120 million weights of theirs add nothing
            to a walk but time and memory.
    """
    torch.manual_seed(seed)
    theirs = name in torchvision.models.list_models(module=torchvision.models)
    network = OWN[name](n_classes) if name in OWN else backbone(name if theirs else f"timm/{name}", n_classes)
    if slim and isinstance(network, torchvision.models.VGG) and name not in OWN:
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Sequential(nn.Linear(512, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, n_classes))
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5)
        else:
            weight.uniform_(-0.5, 1.5)
    for buffer_name, buffer in network.named_buffers():
        if buffer_name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif buffer_name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network.eval()


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

    NaN where other activations, or norms of each image's own values, break that.
    """

    def law(network: nn.Module, images: Tensor, targets: Tensor) -> float:
        try:
            method = kind(network)
        except UserError:
            return math.nan
        if any(isinstance(module, nn.LayerNorm | nn.GroupNorm) for module in network.modules()):
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
