"""Networks of any depth, plain or residual, at random initialisation: on which gradients shatter."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from xcnn.errors import UserError


class ResidualUnit(nn.Module):
    """x + convolution(ReLU(x)), x (N, C, H, W).

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.relu(x))


def deep_network(depth: int, residual: bool = False, channels: int = 16, n_classes: int = 10) -> nn.Sequential:
    """`depth` convolutions of 3 x 3 without BatchNorm, pooling and a linear layer: images (N, 3, H, W) to logits.

    Weights are He's, biases 0 (Balduzzi et al. 2017 have the same). The features before the pooling are the layer
    `last`, H x W.

    Args:
        depth: number of convolutions, at least 1; the first one, from the image, is in no residual unit.
        residual: whether each further convolution is in a residual unit.
        channels: of every convolution.
        n_classes: width of the linear layer.

    Raises:
        UserError: depth below 1.
    """
    if depth < 1:
        raise UserError(f"depth is {depth}; give at least 1.")
    layers: list[tuple[str, nn.Module]] = [("conv1", _convolution(3, channels))]
    for place in range(2, depth + 1):
        if residual:
            layers.append((f"unit{place}", ResidualUnit(channels)))
        else:
            layers += [(f"relu{place - 1}", nn.ReLU()), (f"conv{place}", _convolution(channels, channels))]
    tail = [("last", nn.ReLU()), ("gap", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return nn.Sequential(OrderedDict([*layers, *tail, ("classifier", nn.Linear(channels, n_classes))]))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    found = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(found.weight, nonlinearity="relu")
    with torch.no_grad():
        found.bias.zero_()  # type: ignore[union-attr]
    return found
