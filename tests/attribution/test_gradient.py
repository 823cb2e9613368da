"""The gradient against captum's Saliency, and its kinds of maps by hand."""

import pytest
import torch
from captum.attr import InputXGradient, Saliency
from torch import nn

from tests.attribution.backward.networks import Gated, Small, images, small
from tests.attribution.networks import assert_same
from xcnn.attribution import Gradient
from xcnn.errors import UserError

TARGETS = [1, 3]


@pytest.mark.parametrize("kind", [Small, Gated])
def test_captum(kind: type[nn.Module]) -> None:
    model, x = small(kind), images()
    assert_same(Gradient(model)(x, TARGETS), Saliency(model).attribute(x.clone(), TARGETS).amax(1))
    signed = Saliency(model).attribute(x.clone(), TARGETS, abs=False)
    assert_same(Gradient(model).relevance(x, TARGETS), signed)
    assert_same(Gradient(model, "sum")(x, TARGETS), signed.sum(1))
    products = InputXGradient(model).attribute(x.clone(), TARGETS).detach()
    assert_same(Gradient(model, "input_times").relevance(x, TARGETS), products)
    assert_same(Gradient(model, "input_times")(x, TARGETS), products.sum(1))


def test_maps_by_hand() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -5.0, -3.0, 2.0, 2.0, 4.0]]))  # type: ignore[operator, union-attr]
    x = torch.full((1, 3, 1, 2), 2.0)
    for kind, expected in {"absolute": [3, 5], "signed": [-3, -5], "sum": [0, 1], "input_times": [0, 2]}.items():
        assert Gradient(model, kind)(x).flatten().tolist() == expected  # type: ignore[arg-type]


def test_every_class() -> None:
    model, x = small(), images()
    found = Gradient(model).every_class(x)
    for target in range(5):
        assert_same(found[:, target], Gradient(model).relevance(x, target))


def test_an_unknown_kind() -> None:
    with pytest.raises(UserError, match="kind is 'abs'; choose one of absolute, signed"):
        Gradient(nn.Flatten(), "abs")  # type: ignore[arg-type]
