"""Networks to explain, and the oracle of ablations: the user's own network, run with a part of a layer at zero."""

from collections.abc import Callable, Sequence
from typing import Any

import timm
import torch
import torch.nn.functional as F
import torchvision
from captum.attr import LayerFeatureAblation
from torch import Tensor, nn
from torchvision.models import vgg

from xcnn.models import conv3


def _vgg16() -> nn.Module:
    """VGG-16's 31 `features`, with few channels, and a small classifier."""
    widths = [4, 4, "M", 8, 8, "M", 8, 8, 8, "M", 16, 16, 16, "M", 24, 24, 24, "M"]
    with torch.device("meta"):  # its own classifier has 120 million weights
        model = vgg.VGG(vgg.make_layers(widths), init_weights=False)  # type: ignore[arg-type]
        model.classifier = nn.Sequential(nn.Linear(24 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return model.to_empty(device="cpu")


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "conv3": conv3,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "small resnet": lambda: timm.create_model("test_resnet", num_classes=10),
    "vgg16": _vgg16,
    "densenet121": lambda: torchvision.models.densenet121(num_classes=10),
    "small densenet": lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10),
}


@torch.no_grad()
def randomise(model: nn.Module) -> nn.Module:
    """Weights of the scale that keeps activations alive, and normalisations that do something; float64."""
    model.double().eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5)
        else:
            weight.uniform_(-0.5, 1.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return randomise(NETWORKS[name]())


def pictures(n: int, height: int, width: int) -> Tensor:
    return torch.randn(n, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def zeroed(model: nn.Module, layer: str, images: Tensor, parts: Sequence[Any]) -> Tensor:
    """What the network's logits lose, (N, classes, parts), when `output[:, *part]` of a layer is set to zero."""
    part: Any = None

    def ablate(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        if part is not None:
            output[(slice(None), *part)] = 0
        return output

    hook = model.get_submodule(layer).register_forward_hook(ablate)
    whole, losses = model(images), []
    for part in parts:  # noqa: B007, the hook sees it
        losses.append(whole - model(images))  # noqa: PERF401
    hook.remove()
    return torch.stack(losses, 2)


def zeroed_by_captum(model: nn.Module, layer: str, images: Tensor, targets: list[int], mask: Tensor) -> Tensor:
    """The target's loss (N, K, h, w) with all that has an entry's number in the mask set to zero."""
    oracle = LayerFeatureAblation(model, model.get_submodule(layer))
    return oracle.attribute(images, target=targets, layer_mask=mask)


def channels(which: Sequence[int]) -> list[Any]:
    return [(k,) for k in which]


def locations(height: int, width: int) -> list[Any]:
    return [(slice(None), i, j) for i in range(height) for j in range(width)]


def assert_same(ours: Tensor, theirs: Tensor, relative: float = 1e-10) -> None:
    """Equal up to a share of the largest value, which is not nothing."""
    assert ours.shape == theirs.shape and theirs.abs().max() > 1e-6
    torch.testing.assert_close(ours, theirs, rtol=0, atol=relative * theirs.abs().max().item())


# At the last layer and at an earlier one, on images that leave more than one location.
LAYERS = [
    ("conv3", "relu3", (12, 20)),
    ("conv3", "pool1", (12, 20)),
    ("small resnet", "layer4", (33, 64)),
    ("small resnet", "layer3", (33, 48)),
    ("vgg16", "features.30", (64, 96)),
    ("vgg16", "features.28", (64, 96)),
    ("vgg16", "features.23", (64, 96)),
    ("small densenet", "features", (64, 96)),
    ("small densenet", "features.transition2", (64, 96)),
]


class Headed(nn.Module):
    """Maps of 6 channels at the layer `features`, as large as the images, then a head."""

    def __init__(self, head: Callable[["Headed", Tensor], Tensor], places: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, padding=1)
        self.act, self.norm, self.channelwise = nn.LeakyReLU(), nn.BatchNorm2d(6), nn.PReLU(6)
        self.other, self.gate = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.gap, self.pool, self.max = nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(2), nn.MaxPool2d(2)
        self.even, self.uneven = nn.AdaptiveMaxPool2d((2, 7)), nn.AdaptiveAvgPool2d((4, 5))
        self.wide = nn.AdaptiveAvgPool2d((None, 3))
        self.overlapping, self.ceiled = nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True)
        self.indexed = nn.MaxPool2d(2, return_indices=True)
        self.drop, self.flatten, self.rows = nn.Dropout(), nn.Flatten(), nn.Flatten(2)
        self.first, self.second, self.only = nn.Linear(6 * places, 8), nn.Linear(8, 5), nn.Linear(6 * places, 5)
        self.columns, self.places = nn.Linear(7, 5), nn.Linear(28, 5)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self, self.features(images))


def headed(name: str) -> nn.Module:
    torch.manual_seed(0)
    return randomise(Headed(*HEADS[name][:2]))


def _rest(m: Headed, x: Tensor) -> Tensor:
    return m.second(m.drop(F.relu(m.first(x))))


def _sized_before(m: Headed, x: Tensor) -> Tensor:
    n = x.size(0)
    return _rest(m, m.act(x).view(n, -1))


def _sized_after(m: Headed, x: Tensor) -> Tensor:
    return m.second(F.relu(m.first(x.flatten(1))).view(x.size(0), -1))


def _excited(m: Headed, x: Tensor) -> Tensor:
    return m.only(m.gap(x * m.gate(m.gap(x)).sigmoid()).flatten(1))


# Heads on 6 maps of 4 x 7 (images of that size): what they do, to how many places, and how their ablations are asked:
# "closed" form, one matrix product into a "linear" layer, by "channels" alone (locations overlap), or "asked" of the
# head.
HEADS: dict[str, tuple[Callable[[Headed, Tensor], Tensor], int, str]] = {
    "gap, linear": (lambda m, x: m.only(m.flatten(m.gap(x))), 1, "closed"),
    "mean, linear": (lambda m, x: m.only(x.mean((2, 3))), 1, "closed"),
    "flatten, linear": (lambda m, x: m.only(x.flatten(1)), 28, "closed"),
    "convolution, gap, linear": (lambda m, x: m.only(m.gap(m.other(x)).flatten(1)), 1, "closed"),
    "relu, gap, linear": (lambda m, x: m.only(torch.flatten(m.gap(F.relu(x)), 1)), 1, "closed"),
    "normalisation, softplus, mean": (lambda m, x: m.only(F.softplus(m.norm(x)).mean((2, 3))), 1, "closed"),
    "max-pool, linear": (lambda m, x: m.only(m.max(x).flatten(1)), 6, "closed"),
    "squared pools": (lambda m, x: m.only(m.max(m.act(F.avg_pool2d(x, 2))).flatten(1)), 1, "closed"),
    "view, linear, relu": (lambda m, x: _rest(m, x.view(x.size(0), -1)), 28, "linear"),
    "view of a size before": (_sized_before, 28, "asked"),
    "view of a size after": (_sized_after, 28, "asked"),
    "prelu, flatten, linear, relu": (lambda m, x: _rest(m, m.drop(m.flatten(m.channelwise(x)))), 28, "linear"),
    "max-pool, linear, relu": (lambda m, x: _rest(m, F.max_pool2d(x, 2).flatten(1)), 6, "linear"),
    "two pools, linear, relu": (lambda m, x: _rest(m, m.max(m.act(m.pool(x))).flatten(1)), 1, "linear"),
    "gap, linear, relu": (lambda m, x: _rest(m, m.flatten(m.gap(x))), 1, "linear"),
    "cells, linear, relu": (lambda m, x: _rest(m, m.even(x).flatten(1)), 14, "linear"),
    "max-pool with indices": (lambda m, x: m.only(m.indexed(x)[0].flatten(1)), 6, "asked"),
    "functional with indices": (lambda m, x: m.only(F.max_pool2d(x, 2, return_indices=True)[0].flatten(1)), 6, "asked"),
    "mean, linear, relu": (lambda m, x: _rest(m, x.mean((2, 3))), 1, "asked"),
    "uneven cells": (lambda m, x: _rest(m, m.uneven(x).flatten(1)), 20, "channels"),
    "a side as it is": (lambda m, x: _rest(m, m.wide(x).flatten(1)), 12, "channels"),
    "overlapping pool": (lambda m, x: _rest(m, m.overlapping(x).flatten(1)), 8, "channels"),
    "overlapping pool, functional": (lambda m, x: _rest(m, F.max_pool2d(x, 3, 1).flatten(1)), 10, "channels"),
    "pool to the ceiling": (lambda m, x: m.only(m.ceiled(x).flatten(1)), 8, "channels"),
    "relu, convolution": (lambda m, x: m.only(m.gap(m.other(F.relu(x))).flatten(1)), 1, "closed"),
    "convolution, relu": (lambda m, x: m.only(m.gap(F.relu(m.other(x))).flatten(1)), 1, "asked"),
    "excitation": (_excited, 1, "asked"),
    "residual": (lambda m, x: m.only(m.gap(x + F.relu(m.other(x))).flatten(1)), 1, "asked"),
    "linear over channels": (lambda m, x: m.second(F.relu(m.first(x.permute(0, 2, 3, 1)))).mean((1, 2)), 1, "asked"),
    "linear over columns": (lambda m, x: F.relu(m.columns(x)).mean((1, 2)), 1, "asked"),
    "linear over places": (lambda m, x: F.relu(m.places(x.flatten(2))).mean(1), 1, "asked"),
    "linear over places, module": (lambda m, x: F.relu(m.places(m.rows(x))).mean(1), 1, "asked"),
    "softmax of channels": (lambda m, x: m.only(m.gap(x.softmax(1)).flatten(1)), 1, "asked"),
}
