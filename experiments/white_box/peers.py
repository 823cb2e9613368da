"""Captum's and zennit's methods beside ours, each on a copy of the network of its own: their hooks may stay behind."""

import copy
from collections.abc import Callable
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
from xcnn.metrics.cost import forward_pass, held_by_walk, peak_bytes, processor_ratios, saved_by_autograd

Run = Callable[[], Tensor]
# The canonizers that zennit has for a family of networks; for others BatchNorms of sequences are folded.
CANONIZERS = {"resnet": zennit.torchvision.ResNetCanonizer, "vgg": zennit.torchvision.VGGCanonizer}


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


def exactness(options: Any, network: nn.Module, images: Tensor, failed: dict[str, str]) -> dict[str, float]:
    """Of each tool: sum of relevance over the output, and error, on the network without biases in float64."""
    network, images, targets = without_biases(network).double(), images.double(), torch.arange(len(images))
    scores = network(images).detach().gather(1, targets[:, None])[:, 0]
    tools = exact(options.network, network, images, targets)
    found = {name: tried(name, run, failed) for name, run in tools.items()}
    relevance = {name: each for name, each in found.items() if each is not None}
    return relevance_errors(relevance, images, Gradient(network).relevance(images, targets), scores)


def costs(options: Any, network: nn.Module, images: Tensor, failed: dict[str, str]) -> dict[str, float]:
    """Of each method of each tool: forward passes; of ours the memory as well."""
    part, values = options.costs, dict[str, float]()
    methods = ours(network, part.layers[options.network], images)
    functions: dict[str, Callable[[], Any]] = {
        f"ours/{name}": partial(each, images, 1) for name, each in methods.items()
    }
    for tool, runs in timed(options.network, network, images).items():
        functions |= {f"{tool}/{name}": run for name, run in runs.items()}
    functions = {
        name: run for name, run in functions.items() if _slow(name, part) or tried(name, run, failed) is not None
    }
    forward = forward_pass(network, images)
    for slow, rounds in ((False, part.rounds), (True, part.rounds_of_slow)):
        chosen = {name: run for name, run in functions.items() if _slow(name, part) == slow}
        values |= {f"time/{name}": ratio for name, ratio in processor_ratios(chosen, forward, rounds).items()}
    saved, gradients = saved_by_autograd(network, images), peak_bytes(functions["ours/gradient"])
    for name, method in methods.items():
        if isinstance(method, WalkMethod):
            values[f"held/{name}"] = held_by_walk(method, images) / saved
        if name not in part.slow:
            values[f"peak/{name}"] = peak_bytes(functions[f"ours/{name}"]) / gradients
    return values


def _slow(name: str, part: Any) -> bool:
    return name.partition("/")[2] in part.slow


def tried(name: str, run: Callable[[], Any], failed: dict[str, str]) -> Any:
    """What a method gives; None where it fails, as a tool may on any network in any way."""
    try:
        return run()
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return None
