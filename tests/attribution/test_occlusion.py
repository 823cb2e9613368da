"""Occlusion against a window at a time."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.attribution.networks import assert_same, network, pictures, randomise
from xcnn.attribution import Occlusion
from xcnn.errors import UserError

TARGETS = [3, 1]


@torch.no_grad()
def one_by_one(model: nn.Module, images: Tensor, window: int, stride: int, value: float) -> Tensor:
    """The mean drop of the windows that cover each pixel."""
    maps = []
    for image, target in zip(images, TARGETS, strict=True):
        total, count = torch.zeros(2, *image.shape[1:], dtype=images.dtype)
        for top in [*range(0, image.shape[1] - window, stride), image.shape[1] - window]:
            for left in [*range(0, image.shape[2] - window, stride), image.shape[2] - window]:
                there = (..., slice(top, top + window), slice(left, left + window))
                occluded = image.clone()
                occluded[there] = value
                total[there] += (model(image[None]) - model(occluded[None]))[0, target]
                count[there] += 1
        maps.append(total / count)
    return torch.stack(maps)


@pytest.mark.parametrize(
    ("name", "size", "window", "stride", "value"),
    [
        ("conv3", (12, 20), 4, 3, 0.0),
        ("conv3", (12, 20), 5, 5, 0.7),
        ("small resnet", (40, 48), 12, 10, 0.0),
        ("small densenet", (40, 33), 33, 20, -1.0),
        ("vgg16", (64, 64), 32, 24, 0.0),
    ],
)
def test_window_by_window(name: str, size: tuple[int, int], window: int, stride: int, value: float) -> None:
    """By incremental inference and by running the network; windows at the border, some as large as the image."""
    model, images = network(name), pictures(2, *size)
    expected = one_by_one(model, images, window, stride, value)
    method = Occlusion(model, window, stride, value)
    result = method.explain(images, TARGETS)
    assert_same(result.maps, expected)
    down, across = (len({*range(0, side - window, stride), side - window}) for side in size)
    assert result.ablations.tolist() == [down * across] * 2
    assert_same(Occlusion(model, window, stride, value, chunk=3)(images, TARGETS), expected)
    method.incremental = None
    assert_same(method(images, TARGETS), expected)


def test_the_transform_and_float32() -> None:
    """ResNet-18, whose changes lie close together: Winograd's transform in float64 and float32."""
    torch.manual_seed(0)
    model, images = randomise(torchvision.models.resnet18(num_classes=5)), pictures(2, 64, 64)
    method = Occlusion(model, 24, 20)
    found = method(images, TARGETS)
    method.incremental = None
    assert_same(found, method(images, TARGETS))
    method = Occlusion(model.float(), 24, 20)
    found = method(images.float(), TARGETS)
    method.incremental = None
    assert_same(found, method(images.float(), TARGETS), 1e-5)


def test_a_network_that_cannot_be_traced() -> None:
    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network("conv3")

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images * 2) if images.sum() > 1e9 else self.inner(images)

    model, images = Untraceable(), pictures(2, 12, 20)
    method = Occlusion(model, 4, 3)
    assert method.incremental is None
    assert_same(method(images, TARGETS), one_by_one(model, images, 4, 3, 0.0))


def test_by_hand() -> None:
    """A sum of pixels: windows of 2 at 0, 1 and 2 of a row of 4, in an image of 2 x 4."""
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]).view(1, 1, 2, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 1, bias=False))
    nn.init.ones_(model[1].weight)
    expected = [[3, 4, 6, 7]] * 2  # windows take 3, 5 and 7
    assert Occlusion(model, 2, 1)(x)[0].tolist() == expected
    assert Occlusion(model, 2, 2, value=1.0)(x)[0].tolist() == [[-1, -1, 3, 3]] * 2


def test_refusals() -> None:
    model = network("conv3")
    for window, stride in ((0, 1), (4, 0), (4, 5)):
        with pytest.raises(UserError, match=rf"window is {window} and stride {stride}; give .* every pixel"):
            Occlusion(model, window, stride)
    with pytest.raises(UserError, match="window of 13 pixels is larger than the image, whose side is 12"):
        Occlusion(model, 13, 4)(pictures(1, 12, 20))
