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
from torch.nn.modules import batchnorm

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
)

Run = Callable[[], Tensor]
# The canonizers that zennit has for a family of networks; for others BatchNorms of sequences are folded.
CANONIZERS = {"resnet": zennit.torchvision.ResNetCanonizer, "vgg": zennit.torchvision.VGGCanonizer}


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


def saved_by_autograd(network: nn.Module, images: Tensor) -> int:
    """Bytes that autograd keeps of a forward pass for the gradients, without the weights and the images."""
    kept: dict[int, int] = {}
    images = images.clone()  # which a network may change in place
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), images)}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(images)
    del output
    return sum(size for place, size in kept.items() if place not in own)


@torch.no_grad()
def held_by_walk(method: Any, images: Tensor) -> int:
    """Bytes that the walk of a method keeps of a forward pass, without the weights and the images."""
    network = method.network
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), images)}
    recorded = method.walk.forward(images)
    kept: dict[int, int] = {}
    for values in recorded.values.values():
        for name, found in vars(values).items():
            for tensor in found if isinstance(found, tuple) else (found,):
                if isinstance(tensor, Tensor) and not name.startswith("_"):
                    kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(size for place, size in kept.items() if place not in own)


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
