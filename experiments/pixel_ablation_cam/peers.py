"""The grad-cam package's methods, called as ours are: what `benchmark` compares with."""

import contextlib
import io
from typing import Any

import pytorch_grad_cam
import torch
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn


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
