"""The grad-cam package's methods, called as ours are: what `benchmark` compares with."""

import contextlib
import io
from functools import partial
from typing import Any

import pytorch_grad_cam
import torch
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from xcnn.attribution import AblationCAM, Explanation, upsample
from xcnn.evaluation.gallery import correlation
from xcnn.metrics.cost import FORWARD, beside_forward, forward_pass, ratios

PARTS = ("time", "memory")


class SomeChannels(AblationLayer):
    """The package's own layer, given the channels to ablate, (c,)."""

    def __init__(self, channels: Tensor):
        super().__init__()
        self.channels = channels.numpy()

    def activations_to_be_ablated(self, activations: Any, ratio_channels_to_ablate: float = 1.0) -> Any:
        self.indices = self.channels
        return self.channels


class KeepsWeights(pytorch_grad_cam.AblationCAM):
    """The package's Ablation-CAM, which also keeps its weights (n, K)."""

    def get_cam_weights(self, *args: Any) -> Any:
        self.weights = super().get_cam_weights(*args)
        return self.weights


class Package:
    """The package's methods on the same images, classes and layer as ours."""

    def __init__(self, network: nn.Module, layer: str, images: Tensor, targets: Tensor):
        self.network, self.layers, self.images = network, [network.get_submodule(layer)], images
        self.outputs = [ClassifierOutputTarget(target) for target in targets.tolist()]

    def maps(self) -> Tensor:
        """Maps of its GradCAM, (n, H, W)."""
        with pytorch_grad_cam.GradCAM(self.network, self.layers) as method:
            return torch.from_numpy(method(self.images, self.outputs))

    def weights(self, channels: Tensor) -> Tensor:
        """Weights of its AblationCAM, (n, c), from ablating only these channels (c,)."""
        layer = SomeChannels(channels)
        with (
            contextlib.redirect_stderr(io.StringIO()),  # its progress bars
            KeepsWeights(self.network, self.layers, ablation_layer=layer) as method,
        ):
            method(self.images, self.outputs)
            return torch.from_numpy(method.weights)[:, channels]


def package_values(
    network: nn.Module, layer: str, images: Tensor, ours: Explanation, repeats: int, n_channels: int
) -> tuple[dict[str, float], list[int]]:
    """What the package's GradCAM and AblationCAM cost, over a plain forward pass, and how far ours agree with them.

    Its AblationCAM is measured on some channels spread over the layer, and extrapolated to all.

    Args:
        ours: of our Grad-CAM.
        repeats: rounds of its GradCAM.
        n_channels: how many channels are measured.

    Returns:
        `time/package_NAME`, `memory/package_grad_cam`, and `agreement/NAME`, the correlation of maps or weights; and
        the number of channels that were measured, and of all.
    """
    package = Package(network, layer, images, ours.targets)
    theirs, results = beside_forward(network, images, {"grad_cam": package.maps}, repeats)
    values = {f"{part}/package_grad_cam": theirs[f"{part}/grad_cam"] for part in PARTS}
    maps = upsample(ours.maps, images.shape[2:])
    values["agreement/grad_cam"] = float(correlation(maps.cpu(), results["grad_cam"]).nanmean())
    weights = AblationCAM(network, layer).weights(images, ours.targets)
    channels = torch.linspace(0, weights.shape[1] - 1, n_channels).long()
    parts = {"none": partial(package.weights, channels[:0]), "some": partial(package.weights, channels)}
    timed = ratios({FORWARD: forward_pass(network, images), **parts}, FORWARD, 1, images.device)
    each = (timed["some"].ratio - timed["none"].ratio) / len(channels)
    values["time/package_ablation_cam"] = timed["none"].ratio + weights.shape[1] * each
    own, others = weights[:, None, channels.to(weights.device)].cpu(), timed["some"].result[:, None]
    values["agreement/ablation_cam"] = float(correlation(own, others).nanmean())
    return values, [len(channels), weights.shape[1]]
