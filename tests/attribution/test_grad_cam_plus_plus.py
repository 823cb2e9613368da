"""Grad-CAM++ against a transcription of its equations with derivatives by autograd, and the grad-cam package."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.networks import Headed, assert_same, headed, pictures, randomise
from xcnn.attribution import GradCAMPlusPlus, Probe

TARGETS = [3, 1]


def transcribed(head: Callable[[Tensor], Tensor], features: Tensor, target: int) -> Tensor:
    """Eqs. 10 and 19 for one image and the class score exp(Y); first, second and third derivatives by autograd."""
    start = features.clone().requires_grad_()
    score = head(start[None])[0, target].exp()
    (first,) = torch.autograd.grad(score, start, create_graph=True)
    result = torch.zeros_like(features[0])
    for k in range(len(features)):
        weight = torch.zeros((), dtype=features.dtype)
        for i, j in itertools.product(*map(range, features.shape[1:])):
            (derivative,) = torch.autograd.grad(first[k, i, j], start, create_graph=True)
            second = derivative[k, i, j]
            third = torch.autograd.grad(second, start, retain_graph=True)[0][k, i, j]
            total = sum(features[k, a, b] * third for a, b in itertools.product(*map(range, features.shape[1:])))
            alpha = second / (2 * second + total)
            weight = weight + alpha * first[k, i, j].relu()
        result = result + weight * features[k]
    return result.relu().detach()


@pytest.mark.parametrize("name", ["gap, linear", "flatten, linear", "view, linear, relu", "convolution, gap, linear"])
def test_equations(name: str) -> None:
    """Up to exp(Y), which scales the whole map. Heads without curvature: there are no other second derivatives."""
    model, images = headed(name), pictures(2, 4, 7)
    method = GradCAMPlusPlus(model, "features")
    maps, probe = method(images, TARGETS), method.probe(images, TARGETS)
    for image, target in enumerate(TARGETS):
        expected = transcribed(method.split.head, probe.features[image], target)
        assert_same(maps[image] * probe.score[image].exp(), expected)


class Given(nn.Module):
    """Features and gradients as they are written down: 1 channel, 1 x 1."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.features, self.flatten, self.only = nn.Identity(), nn.Flatten(), nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.only.weight, weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.only(self.flatten(self.features(images)))


@pytest.mark.parametrize(
    ("activation", "gradient", "expected"),
    [
        (1.0, 2.0, 0.5),  # alpha = 4 / (8 + 8)
        (2.0, 1.0, 0.5),  # alpha = 1 / (2 + 2)
        (0.5, -1.0, 0.0),  # no weight for what speaks against the class
        (3.0, 0.0, 0.0),
        (-2.0, 1.0, 0.0),  # the denominator is 0
    ],
)
def test_by_hand(activation: float, gradient: float, expected: float) -> None:
    maps = GradCAMPlusPlus(Given(gradient), "features")(torch.full((1, 1, 1, 1), activation), 0)
    torch.testing.assert_close(maps, torch.full((1, 1, 1), expected))


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_gradients_of_any_size(scale: float) -> None:
    """In float32, where the cubes of small gradients are 0 and an epsilon would swallow their squares."""
    model, images = headed("flatten, linear"), pictures(2, 4, 7)
    with torch.no_grad():
        model.only.weight.mul_(scale)
        model.only.bias.zero_()
    method = GradCAMPlusPlus(model, "features")
    probe = method.probe(images, TARGETS)
    g, a = probe.gradient, probe.features
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3)
    expected = ((alpha * g.relu()).sum((2, 3), keepdim=True) * a).sum(1).relu()
    assert_same(method(images, TARGETS) / expected.max(), expected / expected.max())
    single = GradCAMPlusPlus(model.float(), "features")(images.float(), TARGETS)
    assert_same(single.double() / expected.max(), expected / expected.max(), 1e-4)


def test_the_package() -> None:
    package = pytest.importorskip("pytorch_grad_cam")
    model = randomise(Headed(lambda m, x: m.only(m.flatten(m.act(x))), 28))
    with torch.no_grad():
        model.only.weight.mul_(1e5)  # its epsilon is then of no account
    method = GradCAMPlusPlus(model, "features")
    probe: Probe = method.probe(pictures(2, 4, 7), TARGETS)
    activations, gradients = probe.features.numpy(), probe.gradient.numpy()
    weights = package.GradCAMPlusPlus.get_cam_weights(None, None, None, None, activations, gradients)
    expected = torch.einsum("nk,nkhw->nhw", torch.tensor(weights), probe.features).relu()
    assert_same(method(pictures(2, 4, 7), TARGETS), expected, 1e-6)
