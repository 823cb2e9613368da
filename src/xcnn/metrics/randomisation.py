"""Sanity checks by randomised weights (Adebayo et al. 2018): cascades of networks, and structural similarity of maps.

Layers lose what they learnt one after the other, from the last to the first (top-down) or from the first to the last
(bottom-up). Top-down alone is not enough: it keeps the scales of the activations below (Binder et al. 2023).
"""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from xcnn.attribution.maps import normalise
from xcnn.errors import UserError
from xcnn.metrics.similarity import varied

__all__ = ["Randomised", "cascade", "layers_with_weights", "ssim"]


class Randomised(NamedTuple):
    """A network of a cascade.

    Args:
        order: `top_down` or `bottom_up`; the last of both is the same network, of `bottom_up` it is left out.
        layers: number of layers that are randomised.
        network: copy of the network.
    """

    order: str
    layers: int
    network: nn.Module


def layers_with_weights(network: nn.Module) -> list[str]:
    """Names of the convolutions and linear layers, in the order in which the network defines them."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [name for name, module in network.named_modules() if isinstance(module, kinds)]


def cascade(network: nn.Module, stages: int, seed: int = 0) -> Iterator[Randomised]:
    """Copies of a network with more and more layers randomised, top-down, then bottom-up.

    A layer's weights and its biases are drawn from normal distributions with the mean and deviation that each had; the
    draw depends on the seed and the layer, so that a layer is the same in all copies.

    Args:
        network: network; not changed.
        stages: number of copies in each order, as evenly spaced from one layer to all as their number allows.
        seed: random seed.

    Raises:
        UserError: stages below 2, or a network without weights.
    """
    names = layers_with_weights(network)
    if stages < 2 or not names:
        raise UserError(f"stages is {stages} and the network has {len(names)} layers with weights; give at least 2, 1.")
    counts = sorted({round(1 + (len(names) - 1) * k / (stages - 1)) for k in range(stages)})
    for order, ranked in (("top_down", names[::-1]), ("bottom_up", names)):
        for count in counts:
            if order == "bottom_up" and count == len(names):
                continue
            other = copy.deepcopy(network)
            for name in ranked[:count]:
                _randomise(other.get_submodule(name), seed + names.index(name))
            yield Randomised(order, count, other)


@torch.no_grad()
def _randomise(layer: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in layer.parameters(recurse=False):
        deviation, mean = torch.std_mean(weight.double(), correction=0)
        drawn = mean.cpu() + deviation.cpu() * torch.randn(weight.shape, dtype=torch.float64, generator=generator)
        weight.copy_(drawn.to(weight))


def ssim(maps: Tensor, others: Tensor, sigma: float = 1.5) -> Tensor:
    """Structural similarity (Wang et al. 2004) of maps brought to [0, 1]: (N, H, W), (N, H, W) -> (N,) in [-1, 1].

    With Gaussian windows of 11 pixels and population statistics, as in the paper, over the places where a window fits.
    A constant map has none: NaN.

    Args:
        maps, others: maps of one size, at least 11 x 11.
        sigma: standard deviation of the windows, in pixels.

    Raises:
        UserError: shapes do not fit, or maps smaller than a window.
    """
    size = 2 * round(3.5 * sigma) + 1
    if maps.ndim != 3 or maps.shape != others.shape or min(maps.shape[1:]) < size:
        raise UserError(
            f"maps are {tuple(maps.shape)} and {tuple(others.shape)}; pass two of one size (N, H, W), "
            f"{size} px or more."
        )
    down, across = (_window_means(side, size, sigma).to(maps.device) for side in maps.shape[1:])
    a, b = normalise(maps.double()), normalise(others.double())
    mean_a, mean_b, square_a, square_b, product = down @ torch.stack([a, b, a * a, b * b, a * b]) @ across.T
    variance_a, variance_b, covariance = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
    first, second = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + first) * (2 * covariance + second)
    found = found / ((mean_a**2 + mean_b**2 + first) * (variance_a + variance_b + second))
    return found.mean((1, 2)).where(varied(maps) & varied(others), torch.nan)


def _window_means(side: int, size: int, sigma: float) -> Tensor:
    """Weighted means over the Gaussian windows along an axis, as a matrix (side - size + 1, side).

    Multiplied with the images from either side: six times as fast as torch's convolution in float64 on a CPU.
    """
    blurred = gaussian_filter1d(np.eye(side), sigma, axis=0, truncate=3.5)
    return torch.from_numpy(blurred[size // 2 : side - size // 2])
