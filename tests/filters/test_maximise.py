"""Activation maximisation where its outcome is known."""

import pytest
import torch
from torch import nn

from xcnn.errors import UserError
from xcnn.filters import activation_maps, total_variation
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
    """Behind global pooling a map's gradient is w / 64 in each cell, and each neighbour that differs adds tv / 56.

    Where w is large the map is moved to 0 or 1 and clipped there. Where it is small the noise of the start is not gone
    after 64 steps, but is after many more, or without the term.
    """
    torch.manual_seed(0)
    model = conv3()
    with torch.no_grad():
        model.classifier.weight.mul_(8)  # weights on both sides of the critical one
    weight = model.classifier.weight[2].detach().abs()
    critical = 0.1 * 64 / 56

    def uniform(**options: float) -> torch.Tensor:
        maps = activation_maps(model, "relu3", 2, (3, 32, 32), **options)
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
