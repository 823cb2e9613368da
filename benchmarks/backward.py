"""What backward attribution methods cost, over one plain forward pass, beside captum and zennit.

    make bench-backward

Processor time (not wall time) of one thread, float32, batch 4 at 224 px, random weights; the methods take turns in one
run, and the least of the repeats counts. Each contains its own forward pass. The limit counts a forward pass as 1 and a
backward pass to the input as 1. A tool that refuses the network is shown with its error.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import captum.attr
import torch
import torchvision
import zennit.attribution
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
    SmoothGrad,
)

LAYERS = {"resnet18": "layer4", "vgg16": "features.30", "densenet121": "features"}
# Passes aimed at on ResNet-18, and the limit.
AIMS = {
    "FEM": (1.0, 1),
    "gradient": (2.2, 2),
    "LRP-0": (2.2, 2),
    "guided": (2.2, 2),
    "DeconvNet": (2.2, 2),
    "LRP-epsilon": (2.4, 2),
    "epsilon-plus": (3.3, 3),
    "epsilon-gamma-box": (3.8, 3.4),
    "alpha2-beta1": (4.4, 4),
    "DeepLIFT rescale": (2.7, 3),
    "DeepLIFT RevealCancel": (7.5, 7),
    "integrated gradients (32)": (67, 64),
    "SmoothGrad (25)": (53, 50),
}
SLOW = ("integrated gradients (32)", "SmoothGrad (25)")


def ours(network: nn.Module, layer: str, images: Tensor) -> dict[str, Callable[[], Any]]:
    methods = {
        "FEM": FEM(network, layer),
        "gradient": Gradient(network),
        "LRP-0": LRP(network, "lrp_0"),
        "guided": GuidedBackprop(network),
        "DeconvNet": DeconvNet(network),
        "LRP-epsilon": LRP(network),
        "epsilon-plus": LRP(network, "epsilon_plus"),
        "epsilon-gamma-box": LRP(network, "epsilon_gamma_box", low=-3.0, high=3.0),
        "alpha2-beta1": LRP(network, "lrp_alpha2_beta1"),
        "deep Taylor": DeepTaylor(network),
        "DeepLIFT rescale": DeepLIFT(network),
        "DeepLIFT RevealCancel": DeepLIFT(network, "reveal_cancel"),
        "integrated gradients (32)": IntegratedGradients(network, 32),
        "SmoothGrad (25)": SmoothGrad(network, samples=25),
    }
    return {name: partial(method, images, 1) for name, method in methods.items()}


def by_zennit(network: nn.Module, images: Tensor, composite: Callable[[], Any]) -> Tensor:
    chosen = torch.zeros(len(images), 1000)
    chosen[:, 1] = 1
    with zennit.attribution.Gradient(model=network, composite=composite()) as attributor:
        relevance: Tensor = attributor(images.clone(), lambda output: output * chosen)[1]
    return relevance


def theirs(make: Callable[[], nn.Module], canonizers: list[Any], images: Tensor) -> dict[str, Callable[[], Any]]:
    """Captum's and zennit's, each on a network of its own, as their hooks and folds may stay behind."""

    def alpha_beta() -> Any:
        rules = [
            (zennit.types.Activation, zennit.rules.Pass()),
            (zennit.types.AvgPool, zennit.rules.Norm()),
            (zennit.types.Linear, zennit.rules.AlphaBeta(2, 1)),
        ]
        return zennit.composites.LayerMapComposite(rules, canonizers=canonizers)

    tools = {
        "gradient": captum.attr.Saliency,
        "guided": captum.attr.GuidedBackprop,
        "DeconvNet": captum.attr.Deconvolution,
        "LRP-epsilon": captum.attr.LRP,
        "DeepLIFT rescale": captum.attr.DeepLift,
    }
    found: dict[str, Callable[[], Any]] = {
        f"captum: {name}": lambda tool=tool: tool(make()).attribute(images.clone(), target=1)
        for name, tool in tools.items()
    }
    found["captum: integrated gradients (32)"] = lambda: captum.attr.IntegratedGradients(make()).attribute(
        images.clone(), target=1, n_steps=32, internal_batch_size=4
    )
    composites: dict[str, Callable[[], Any]] = {
        "epsilon-plus": lambda: zennit.composites.EpsilonPlus(canonizers=canonizers),
        "epsilon-gamma-box": lambda: zennit.composites.EpsilonGammaBox(low=-3.0, high=3.0, canonizers=canonizers),
        "alpha2-beta1": alpha_beta,
    }
    for name, composite in composites.items():
        found[f"zennit: {name}"] = lambda composite=composite: by_zennit(make(), images, composite)
    return found


def processor_time(function: Callable[[], Any]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=LAYERS, default="resnet18")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="without the methods of more than ten passes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    network = torchvision.models.get_model(arguments.network).eval()
    images = torch.randn(arguments.batch, 3, arguments.side, arguments.side)

    def fresh() -> nn.Module:
        copied = torchvision.models.get_model(arguments.network).eval()
        copied.load_state_dict(network.state_dict())
        return copied

    canonizers: list[Any] = {
        "resnet18": [zennit.torchvision.ResNetCanonizer()],
        "vgg16": [zennit.torchvision.VGGCanonizer()],
        "densenet121": [],
    }[arguments.network]

    def forward() -> None:
        with torch.inference_mode():
            network(images)

    functions = {
        "forward": forward,
        **ours(network, LAYERS[arguments.network], images),
        **theirs(fresh, canonizers, images),
    }
    if arguments.quick:
        functions = {name: each for name, each in functions.items() if not name.endswith(SLOW)}
    least, failed = dict.fromkeys(functions, float("inf")), dict[str, str]()
    making = min(processor_time(fresh) for _ in range(arguments.repeats))
    for _ in range(arguments.repeats):
        for name, function in functions.items():
            if name in failed:
                continue
            try:
                least[name] = min(least[name], processor_time(function))
            except Exception as error:  # a tool may refuse a network in any way
                failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
    print(f"{arguments.network}, {arguments.batch} images of {arguments.side} px: {least['forward']:.2f} s forward")
    for name, seconds in least.items():
        if name in failed:
            print(f"{name:36} {failed[name]}")
        elif name != "forward":
            seconds -= making if ":" in name else 0  # of the network that the tool was given
            aim = AIMS.get(name)
            note = f"  (aim {aim[0]}, limit {aim[1]})" if aim and arguments.network == "resnet18" else ""
            print(f"{name:36} {seconds / least['forward']:6.2f}{note}")


if __name__ == "__main__":
    main()
