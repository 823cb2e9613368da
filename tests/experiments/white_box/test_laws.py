"""The laws by which `breadth` judges the methods: they hold on small networks, and not where a rule is broken."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from experiments.white_box.laws import kept
from experiments.white_box.peers import exact, held_by_walk, saved_by_autograd, without_biases
from experiments.white_box.random_networks import cases, random_network
from tests.attribution.backward.networks import Gated, Small, images, small
from xcnn.attribution import LRP, GuidedBackprop
from xcnn.attribution.backward import Call, Values
from xcnn.attribution.backward.walk import Sent

TARGETS = torch.tensor([1, 3])
CASES = {name: case.law for name, case in cases(4, 2).items() if case.law and name != "integrated_gradients"}


def leaking(call: Call, m: Tensor, values: Values) -> Sent:
    """A ReLU that loses a hundredth."""
    return (0.99 * m * (values.output > 0),)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [Small, Gated])
def test_laws_hold(name: str, kind: type[nn.Module]) -> None:
    error = CASES[name](copy.deepcopy(small(kind)), images(), TARGETS)
    if kind is Gated and name in ("deconvnet", "guided_backprop"):
        assert math.isnan(error)  # other activations, and norms that give both signs: the law does not bear on them
    else:
        assert error < 1e-9


def test_a_broken_rule_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: lrp_0\nrules:\n  - {{operation: relu, rule: {__name__}.leaking}}\n")
    assert kept(LRP(small(), path), images(), TARGETS) > 1e-3


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.flatten(self.act(self.first(x)), 1))


def test_ours_beside_the_tools() -> None:
    """On a network that the tools serve, without biases, all sum to the output."""
    torch.manual_seed(0)
    model = without_biases(Two().double())
    x = images()
    scores = model(x).detach()[[0, 1], TARGETS]
    found = {name: run() for name, run in exact("vgg", model, x, TARGETS).items()}
    for name, relevance in found.items():
        if not name.startswith("guided"):
            torch.testing.assert_close(relevance.sum((1, 2, 3)), scores, rtol=1e-6, atol=0)
    assert (found["guided/ours"] - found["guided/captum"]).abs().max() < 1e-12


def test_memory_held() -> None:
    """A convolution and a ReLU: autograd keeps the result of each, the walk one byte for each value of the ReLU."""
    model, x = Two(), images().float()
    values = 2 * 4 * 14 * 14
    assert held_by_walk(GuidedBackprop(model), x) == values
    assert saved_by_autograd(model, x) == 4 * values


def test_random_networks_are_theirs_and_ours() -> None:
    first, again, other = (random_network("conv3", 4, seed) for seed in (0, 0, 1))
    weights = [next(network.parameters()) for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert all(parameter.abs().max() > 0 for parameter in first.parameters())
    assert random_network("test_resnet", 4)(torch.rand(1, 3, 32, 32)).shape == (1, 4)
