"""Activation maximisation where its outcome is known."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from xcnn.errors import UserError
from xcnn.filters import activation_maps, maximise_images, total_variation
from xcnn.models import conv3, split_at


class Linear(nn.Module):
    """A layer `maps` of two filters, whose head is a linear functional of them."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.maps, self.flatten, self.head = nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(weight[0].numel(), len(weight))
        with torch.no_grad():
            self.head.weight.copy_(weight.flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.flatten(self.maps(x)))


def test_maximum_of_a_linear_head_is_where_its_weight_is_positive() -> None:
    weight = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    weight = weight.sign() * (0.5 + weight.abs())
    maps = activation_maps(Linear(weight), "maps", 1, (3, 4, 4), steps=64, step_size=0.4, tv=0, l2=0)
    assert torch.equal(maps, (weight[1] > 0).float())


def test_l2_term_shortens_the_maximum() -> None:
    """w a - l2 a^2 / 16 is largest at a = 8 w / l2 for each of 16 pixels."""
    weight = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    maps = activation_maps(Linear(weight), "maps", 0, (3, 4, 4), steps=2000, step_size=0.02, tv=0, l2=8.0)
    torch.testing.assert_close(maps, weight[0], atol=0.01, rtol=0)


def test_total_variation_by_hand() -> None:
    step = torch.tensor([[0.0, 1, 1], [0, 1, 1]])
    torch.testing.assert_close(total_variation(step), torch.tensor(0.5))
    torch.testing.assert_close(total_variation(step.T), torch.tensor(0.5))
    assert total_variation(torch.ones(2, 1, 1)).tolist() == [0, 0]


def test_total_variation_term_smooths() -> None:
    weight = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    rough, smooth = (
        total_variation(activation_maps(Linear(weight), "maps", 0, (3, 8, 8), tv=tv)) for tv in (0.0, 100.0)
    )
    assert (smooth < rough / 2).all()


def test_under_global_pooling_the_map_is_uniform() -> None:
    torch.manual_seed(0)
    model = conv3()
    maps = activation_maps(model, "relu3", 4, (3, 16, 16), tv=0, l2=0)
    positive = (model.classifier.weight[4] > 0).float()
    torch.testing.assert_close(maps, positive[:, None, None].expand_as(maps), atol=1e-6, rtol=0)


def test_the_total_variation_term_leaves_maps_of_small_weights_unfinished() -> None:
    """Behind global pooling a map's gradient is w / 36 in each cell, and each neighbour that differs adds tv / 30.

    Where w is large the map is moved to 0 or 1 and clipped there. Where it is small the noise of the start is not gone
    after 64 steps, but is after many more, or without the term.
    """
    torch.manual_seed(0)
    model = conv3()
    with torch.no_grad():
        model.classifier.weight.mul_(8)  # weights on both sides of the critical one
    weight = model.classifier.weight[2].detach().abs()
    critical = 0.1 * 36 / 30

    def uniform(**options: float) -> torch.Tensor:
        maps = activation_maps(model, "relu3", 2, (3, 24, 24), **options)
        return maps.amax((1, 2)) - maps.amin((1, 2)) < 0.01

    found = uniform()
    assert found[weight > critical].all() and not found[weight < critical / 2].any()
    assert 0.5 < found.float().mean() < 1
    assert uniform(tv=0.0).all() and uniform(steps=512).all()


def test_the_logit_rises_and_each_filter_is_alone() -> None:
    torch.manual_seed(0)
    model = conv3().train()
    arguments = {"target_class": 2, "input_size": (3, 8, 8), "tv": 0.0, "l2": 0.0}
    start, maps = (activation_maps(model, "relu1", **arguments, steps=steps) for steps in (0, 16))
    chunked = activation_maps(model, "relu1", **arguments, steps=16, batch_size=5)
    torch.testing.assert_close(maps, chunked, atol=1e-3, rtol=0)
    head = split_at(model, "relu1").head
    before, after = (
        head(torch.diag_embed(m.flatten(1).T).unflatten(0, (8, 8)).permute(2, 3, 0, 1)) for m in (start, maps)
    )
    assert ((after - before)[:, 2] > -1e-4).all() and (after - before)[:, 2].mean() > 1e-3
    assert maps.min() >= 0 and maps.max() <= 1
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(start, activation_maps(model, "relu1", **arguments, steps=0))
    assert not torch.equal(start, activation_maps(model, "relu1", **arguments, steps=0, seed=1))


def test_refusals() -> None:
    with pytest.raises(UserError, match="no class 10: the network has classes 0 to 9"):
        activation_maps(conv3(), "relu1", 10)
    with pytest.raises(UserError, match="not maps"):
        activation_maps(conv3(), "flatten", 0)


def linear(weight: torch.Tensor) -> nn.Sequential:
    """A convolution over the whole image, so that the middle of its one-place maps is linear in the image."""
    conv = nn.Conv2d(3, len(weight), tuple(weight.shape[2:]), bias=False)
    with torch.no_grad():
        conv.weight.copy_(weight)
    return nn.Sequential(OrderedDict(conv=conv, flatten=nn.Flatten(), head=nn.Linear(len(weight), 2)))


PLAIN = {"jitter": 0, "blur": 0.0, "tv": 0.0}


def test_best_image_of_a_linear_filter_is_white_where_its_weight_is_positive() -> None:
    weight = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    weight = weight.sign() * (0.5 + weight.abs())
    found = maximise_images(linear(weight), "conv", [1, 0, 1], (3, 6, 7), steps=100, step_size=0.4, **PLAIN)
    for image, reached, index in zip(found.images, found.activation, (1, 0, 1), strict=True):
        assert torch.equal(image, (weight[index] > 0).float())
        torch.testing.assert_close(reached, weight[index].clamp(min=0).sum())


def test_blur_and_total_variation_make_smoother_images() -> None:
    torch.manual_seed(0)
    model = conv3()
    plain = maximise_images(model, "relu2", range(6), (3, 24, 24), steps=32, **PLAIN)
    for term in ({"tv": 5.0}, {"blur": 1.0}):
        found = maximise_images(model, "relu2", range(6), (3, 24, 24), steps=32, **(PLAIN | term))
        assert total_variation(found.images).mean() < 0.9 * total_variation(plain.images).mean(), term
    noise = torch.rand(50, 3, 24, 24)
    best = split_at(model, "relu2").trunk(noise)[:, :6].amax((0, 2, 3))
    assert (plain.activation > 2 * best)[plain.activation > 0.5].all() and (plain.activation > 0.5).sum() >= 4


def test_jitter_reaches_as_far_as_it_shifts() -> None:
    torch.manual_seed(0)
    model = conv3()
    with torch.no_grad():
        model.conv1.bias.fill_(1.0)  # no filter is silent
    start = maximise_images(model, "relu1", range(4), (3, 12, 12), steps=0, **PLAIN).images
    for jitter in (0, 2):
        found = maximise_images(model, "relu1", range(4), (3, 12, 12), steps=200, **(PLAIN | {"jitter": jitter}))
        changed = (found.images != start).any(0).any(0)
        expected = torch.zeros(12, 12, dtype=torch.bool)
        expected[5 - jitter : 8 + jitter, 5 - jitter : 8 + jitter] = True
        assert torch.equal(changed, expected)


def test_a_filter_that_is_silent_on_grey_is_woken_by_noise() -> None:
    weight = torch.zeros(1, 3, 5, 5)
    weight[:, :, 2, 2], weight[:, :, 1, 2] = 1.0, -1.0  # an edge: 0 on a uniform image
    model = nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 1, 5), relu=nn.ReLU(), flatten=nn.Flatten(), head=nn.Linear(1, 2))
    )
    with torch.no_grad():
        model.conv.weight.copy_(weight)
        model.conv.bias.fill_(-0.15)  # more than the first starts reach
    found = maximise_images(model, "relu", [0], (3, 5, 5), steps=100, step_size=0.2, **PLAIN)
    torch.testing.assert_close(found.activation, torch.tensor([2.85]), atol=0.1, rtol=0)


def test_images_refused_and_the_model_left_alone() -> None:
    model = conv3().train()
    with pytest.raises(UserError, match="no filter 32: layer 'relu1' has filters 0 to 31"):
        maximise_images(model, "relu1", [3, 32], (3, 8, 8))
    with pytest.raises(UserError, match="not maps"):
        maximise_images(model, "flatten", [0], (3, 8, 8))
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
