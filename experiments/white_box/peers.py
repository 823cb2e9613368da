"""Captum's and zennit's methods beside ours, each on a copy of the network of its own: their hooks may stay behind."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import captum.attr
import torch
import torch.nn.functional as F
import zennit.attribution
import zennit.canonizers
import zennit.composites
import zennit.rules
import zennit.torchvision
import zennit.types
from torch import Tensor, nn

from xcnn.attribution import (
    FEM,
    LRP,
    DeconvNet,
    DeepLIFT,
    DeepTaylor,
    Gradient,
    GuidedBackprop,
    IntegratedGradients,
    Method,
    SmoothGrad,
    WalkMethod,
)
from xcnn.evaluation.laws import relevance_errors, without_biases
from xcnn.launch.titles import titled
from xcnn.metrics.cost import forward_pass, held_by_walk, peak_bytes, processor_ratios, saved_by_autograd

Run = Callable[[], Tensor]
# The canonizers that zennit has for a family of networks; for others BatchNorms of sequences are folded.
CANONIZERS = {"resnet": zennit.torchvision.ResNetCanonizer, "vgg": zennit.torchvision.VGGCanonizer}
# Forward passes aimed at on ResNet-18.
AIMS = {
    **dict.fromkeys(("gradient", "lrp_0", "guided_backprop", "deconvnet"), 2.2),
    **{"fem": 1.0, "lrp_epsilon": 2.4, "epsilon_plus": 3.3, "epsilon_gamma_box": 3.8, "lrp_alpha2_beta1": 4.4},
    **{"deep_lift": 2.7, "deep_lift_reveal_cancel": 7.5, "integrated_gradients": 67, "smooth_grad": 53},
}
HELD = dict.fromkeys(("lrp_0", "guided_backprop"), 0.3)  # of what autograd saves
PEAK = 1.2  # of the plain gradient's


def exact(name: str, network: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Run]:
    """Relevance by LRP (epsilon of 1e-9, or 0), DeepLIFT (zero baseline) and guided backpropagation, by tool."""
    own = partial(copy.deepcopy, network)
    chosen = F.one_hot(targets, network(images[:1]).shape[1]).to(images)

    def zennits(canonizers: list[Any]) -> Tensor:
        return _zennit(own(), images, _composite(zennit.rules.Epsilon(1e-9), canonizers), lambda out: out * chosen)

    def captums(tool: Any) -> Tensor:
        found: Tensor = tool(own()).attribute(images.clone(), target=targets).detach()
        return found

    return {
        "lrp/ours": lambda: LRP(network, "lrp_0").relevance(images, targets),
        "lrp/captum": lambda: captums(captum.attr.LRP),
        "lrp/zennit": lambda: zennits([]),
        "lrp/zennit, canonizers": lambda: zennits(_canonizers(name)),
        "deep_lift/ours": lambda: DeepLIFT(network).relevance(images, targets),
        "deep_lift/captum": lambda: captums(captum.attr.DeepLift),
        "guided/ours": lambda: GuidedBackprop(network).relevance(images, targets),
        "guided/captum": lambda: captums(captum.attr.GuidedBackprop),
    }


def ours(network: nn.Module, layer: str, images: Tensor) -> dict[str, Method]:
    """Our methods, by the names that `timed` gives the tools' as well."""
    return {
        "fem": FEM(network, layer),
        "gradient": Gradient(network),
        "lrp_0": LRP(network, "lrp_0"),
        "guided_backprop": GuidedBackprop(network),
        "deconvnet": DeconvNet(network),
        "lrp_epsilon": LRP(network),
        "epsilon_plus": LRP(network, "epsilon_plus"),
        "epsilon_gamma_box": LRP(network, "epsilon_gamma_box", low=-3.0, high=3.0),
        "lrp_alpha2_beta1": LRP(network, "lrp_alpha2_beta1"),
        "deep_taylor": DeepTaylor(network),
        "deep_lift": DeepLIFT(network),
        "deep_lift_reveal_cancel": DeepLIFT(network, "reveal_cancel"),
        "integrated_gradients": IntegratedGradients(network, 32),
        "smooth_grad": SmoothGrad(network, samples=25),
    }


def timed(name: str, network: nn.Module, images: Tensor) -> dict[str, dict[str, Run]]:
    """The tools' methods for class 1, by tool and method."""
    own = partial(copy.deepcopy, network)
    chosen = torch.zeros(len(images), network(images[:1]).shape[1]).to(images)
    chosen[:, 1] = 1

    def captums(tool: Callable[[nn.Module], Any], **options: Any) -> Run:
        method = tool(own())
        return lambda: method.attribute(images.clone(), target=1, **options)

    def zennits(make: Callable[[list[Any]], Any]) -> Run:
        mine = own()
        return lambda: _zennit(mine, images, make(_canonizers(name)), lambda output: output * chosen)

    composites = zennit.composites
    attr = captum.attr
    return {
        "captum": {
            "gradient": captums(attr.Saliency),
            "guided_backprop": captums(attr.GuidedBackprop),
            "deconvnet": captums(attr.Deconvolution),
            "lrp_epsilon": captums(attr.LRP),
            "deep_lift": captums(attr.DeepLift),
            "integrated_gradients": captums(attr.IntegratedGradients, n_steps=32, internal_batch_size=len(images)),
            "smooth_grad": captums(
                lambda mine: attr.NoiseTunnel(attr.Saliency(mine)), nt_samples=25, nt_samples_batch_size=1
            ),
        },
        "zennit": {
            "epsilon_plus": zennits(lambda canonizers: composites.EpsilonPlus(canonizers=canonizers)),
            "epsilon_gamma_box": zennits(
                lambda canonizers: composites.EpsilonGammaBox(low=-3.0, high=3.0, canonizers=canonizers)
            ),
            "lrp_alpha2_beta1": zennits(lambda canonizers: _composite(zennit.rules.AlphaBeta(2, 1), canonizers)),
        },
    }


def _canonizers(name: str) -> list[Any]:
    family = next((made for start, made in CANONIZERS.items() if name.startswith(start)), None)
    return [(family or zennit.canonizers.SequentialMergeBatchNorm)()]


def _composite(rule: Any, canonizers: list[Any]) -> Any:
    """Zennit's composite of one rule for all linear maps, with its own for everything else."""
    rules = [*zennit.composites.layer_map_base(stabilizer=1e-9), (zennit.types.Linear, rule)]
    return zennit.composites.LayerMapComposite(rules, canonizers=canonizers)


def _zennit(network: nn.Module, images: Tensor, composite: Any, top: Callable[[Tensor], Tensor]) -> Tensor:
    with zennit.attribution.Gradient(model=network, composite=composite) as attributor:
        relevance: Tensor = attributor(images.clone(), top)[1]
    return relevance.detach()


def exactness(name: str, network: nn.Module, images: Tensor, failed: dict[str, str]) -> dict[str, float]:
    """Of each tool: sum of relevance over the output, and error, on the network without biases in float64.

    Args:
        name: of the network.
        failed: where a method's error is left, by `<method>/<tool>`.
    """
    network, images, targets = without_biases(network).double(), images.double(), torch.arange(len(images))
    scores = network(images).detach().gather(1, targets[:, None])[:, 0]
    tools = exact(name, network, images, targets)
    found = {each: _tried(each, run, failed) for each, run in tools.items()}
    relevance = {each: values for each, values in found.items() if values is not None}
    return relevance_errors(relevance, images, Gradient(network).relevance(images, targets), scores)


def costs(
    name: str,
    network: nn.Module,
    layer: str,
    images: Tensor,
    slow: Sequence[str],
    rounds: tuple[int, int],
    failed: dict[str, str],
) -> dict[str, float]:
    """Of each method of each tool: forward passes; of ours the memory as well.

    Args:
        name: of the network.
        layer: of FEM.
        slow: methods that are run fewer times, and whose memory is not measured.
        rounds: of all others, and of these.
        failed: where a method's error is left, by `<tool>/<method>`.
    """
    methods, values = ours(network, layer, images), dict[str, float]()
    functions: dict[str, Callable[[], Any]] = {
        f"ours/{method}": partial(each, images, 1) for method, each in methods.items()
    }
    for tool, runs in timed(name, network, images).items():
        functions |= {f"{tool}/{method}": run for method, run in runs.items()}
    late = {each: run for each, run in functions.items() if each.partition("/")[2] in slow}
    quick = {each: run for each, run in functions.items() if each not in late and _tried(each, run, failed) is not None}
    forward = forward_pass(network, images)
    for n, chosen in zip(rounds, (quick, late), strict=True):
        values |= {f"time/{each}": ratio for each, ratio in processor_ratios(chosen, forward, n).items()}
    saved, gradients = saved_by_autograd(network, images), peak_bytes(functions["ours/gradient"])
    for method, each in methods.items():
        if isinstance(each, WalkMethod):
            values[f"held/{method}"] = held_by_walk(each, images) / saved
        if method not in slow:
            values[f"peak/{method}"] = peak_bytes(functions[f"ours/{method}"]) / gradients
    return values


def _tried(name: str, run: Callable[[], Any], failed: dict[str, str]) -> Any:
    """What a method gives; None where it fails, as a tool may on any network in any way."""
    try:
        return run()
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return None


def missed_aims(costs: Mapping[str, float]) -> list[str]:
    """What is over its aim, to the digits of the aim, as the page says it."""
    found = []
    for name, aim in AIMS.items():
        passes, held, peak = (costs.get(key, 0.0) for key in (f"time/ours/{name}", f"held/{name}", f"peak/{name}"))
        if round(passes, 1) > aim:
            found.append(f"{titled(name)} ({passes:.1f} passes)")
        if round(held, 1) > HELD.get(name, math.inf):
            found.append(f"{titled(name)} (holds {held:.1f} times what autograd saves)")
        if round(peak, 1) > PEAK:
            found.append(f"{titled(name)} (a peak of {peak:.1f} times the gradient's)")
    return found
