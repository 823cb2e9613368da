"""Transposes of linear maps against autograd's, in all the forms in which they are computed."""

import pytest
import torch
from torch import nn

from tests.attribution.networks import assert_same, randomise
from xcnn.attribution.backward.linear_map import LinearMap
from xcnn.models.graph import TracedNetwork


@pytest.mark.parametrize("inputs", [1, 3, 7])
@pytest.mark.parametrize(
    ("side", "stride", "padding", "size"),
    [
        (7, 2, 3, (12, 15)),
        (3, 2, 1, (9, 8)),
        (4, 4, 0, (17, 16)),
        (3, 1, 1, (6, 5)),
        (2, 3, 1, (10, 11)),
        (5, 3, 0, (9, 13)),
    ],
)
def test_transposes(inputs: int, side: int, stride: int, padding: int, size: tuple[int, int]) -> None:
    """W^T m = the gradient of m . (W a), for W, and for several weights at once; few inputs go phase by phase."""
    torch.manual_seed(0)
    layer = randomise(nn.Conv2d(inputs, 5, side, stride, padding))
    traced = TracedNetwork(layer)
    linear = LinearMap.of(traced, traced.output, None, {})
    a = torch.randn(2, inputs, *size, dtype=torch.float64, requires_grad=True)
    z = layer(a)
    m = torch.randn_like(z)
    weights = (linear.weight, linear.weight.abs(), linear.weight.clamp(max=0))
    assert_same(linear.apply(a.detach(), weights[0], linear.shift), z.detach(), 1e-12)
    for weight, found in zip(weights, linear.transpose_each(m, a.shape, weights), strict=True):
        (expected,) = torch.autograd.grad(nn.functional.conv2d(a, weight, None, stride, padding), a, m)
        assert_same(found, expected, 1e-12)
        assert_same(linear.transpose(m, a.shape, weight), expected, 1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(3, 3, 2, 2),
        nn.Conv2d(4, 4, 3, 2, groups=2),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(2, 4, (3, 2), (2, 1), (0, 1)),
        nn.Conv2d(2, 4, 3, dilation=2),
        nn.Conv1d(2, 4, 3, 2),
        nn.Linear(6, 4),
    ],
    ids=str,
)
def test_other_maps(layer: nn.Module) -> None:
    """Transposed, grouped, padded, uneven and dilated convolutions, those in other dimensions, and linear layers."""
    torch.manual_seed(0)
    traced = TracedNetwork(randomise(layer))
    linear = LinearMap.of(traced, traced.output, None, {})
    channels = getattr(layer, "in_channels", 5)
    size = (channels, 6) if isinstance(layer, nn.Conv1d | nn.Linear) else (channels, 7, 6)
    a = torch.randn(2, *size, dtype=torch.float64, requires_grad=True)
    m = torch.randn_like(layer(a))
    weights = (linear.weight, linear.weight.clamp(min=0))
    for weight, found in zip(weights, linear.transpose_each(m, a.shape, weights), strict=True):
        (expected,) = torch.autograd.grad(linear.apply(a, weight), a, m)
        assert_same(found, expected, 1e-12)
    assert_same(linear.apply(a.detach(), weights[0], linear.shift), layer(a).detach(), 1e-12)


def test_a_batch_norm_alone() -> None:
    """Of a diagonal W: z = W a + b as the layer gives it, and W^T m = W m."""
    torch.manual_seed(0)
    norm = randomise(nn.BatchNorm2d(3))
    traced = TracedNetwork(norm)
    linear = LinearMap.of(traced, None, traced.output, {})
    a = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert_same(linear.apply(a, linear.weight, linear.shift), norm(a).detach(), 1e-12)
    assert_same(linear.apply(a, linear.weight) + linear.bias(a), norm(a).detach(), 1e-12)
    assert_same(linear.transpose(a, a.shape), a * linear.weight.view(-1, 1, 1), 1e-12)
