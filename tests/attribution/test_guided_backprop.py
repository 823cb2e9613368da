"""Guided backpropagation against captum's, and where it is the gradient."""

import pytest
import torch
from captum.attr import GuidedBackprop as Oracle
from torch import nn

from tests.attribution.backward.networks import Gated, Plain, Small, images, small
from tests.attribution.networks import assert_same, randomise
from xcnn.attribution import Gradient, GuidedBackprop
from xcnn.errors import UserError


def sequence() -> nn.Module:
    """ReLUs as modules of their own, which captum needs."""
    torch.manual_seed(0)
    return randomise(
        nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 5)),
        )
    )


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_captum() -> None:
    model, x = sequence(), images()
    expected = Oracle(model).attribute(x.clone(), [1, 3])
    assert_same(GuidedBackprop(model).relevance(x, [1, 3]), expected)
    assert_same(GuidedBackprop(model)(x, [1, 3]), expected.abs().amax(1))
    assert (expected - Gradient(model).relevance(x, [1, 3])).abs().max() > 0.1 * expected.abs().max()


def test_the_gradient_where_nothing_is_negative() -> None:
    """Positive weights: no multiplier is negative, and nothing is stopped."""
    for kind in (Small, Plain):
        model, x = small(kind), images()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("weight"):
                    parameter.abs_()
            model.get_parameter("conv1.bias" if kind is Small else "first.bias").sub_(1)  # some ReLUs are off
        assert_same(GuidedBackprop(model).relevance(x, [1, 3]), Gradient(model).relevance(x, [1, 3]), 1e-12)


def test_other_activations() -> None:
    with pytest.raises(UserError, match="no rule for hardswish"):
        GuidedBackprop(small(Gated))
    assert GuidedBackprop(small(Gated), "all")(images()).abs().max() > 0
    with pytest.raises(UserError, match="activations is 'any'; choose one of relu, all"):
        GuidedBackprop(small(Gated), "any")  # type: ignore[arg-type]
