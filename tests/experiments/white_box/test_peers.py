"""Our methods beside the tools' on networks with random weights."""

import pytest
import torch
from torch import Tensor, nn

from experiments.white_box.peers import exact, missed_aims
from experiments.white_box.random_networks import random_network
from tests.attribution.backward.networks import images
from xcnn.attribution import Gradient
from xcnn.evaluation.laws import relevance_errors, without_biases

TARGETS = torch.tensor([1, 3])


class Small(nn.Module):
    """Two layers, flattened by a function: captum's LRP has no rule for the module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.flatten(self.act(self.first(x)), 1))


def test_ours_beside_the_tools() -> None:
    """On a network that the tools serve, without biases, all sum to the output."""
    torch.manual_seed(0)
    model = without_biases(Small().double())
    x = images()
    scores = model(x).detach()[[0, 1], TARGETS]
    found = {name: run() for name, run in exact("vgg", model, x, TARGETS).items()}
    for name, relevance in found.items():
        if not name.startswith("guided"):
            torch.testing.assert_close(relevance.sum((1, 2, 3)), scores, rtol=1e-6, atol=0)
    assert (found["guided/ours"] - found["guided/captum"]).abs().max() < 1e-12
    values = relevance_errors(found, x, Gradient(model).relevance(x, TARGETS), scores)
    assert [values[f"sum/{name}"] for name in ("lrp/ours", "lrp/captum", "deep_lift/ours")] == pytest.approx([1] * 3)
    assert max(values[f"error/{name}"] for name in ("lrp/ours", "deep_lift/captum", "guided/captum")) < 1e-6
    assert values["gradient/guided/ours"] > 0.01
    del found["guided/ours"]  # as on a network that it refuses
    without = relevance_errors(found, x, Gradient(model).relevance(x, TARGETS), scores)
    assert "error/guided/captum" not in without
    assert without["gradient/guided/captum"] == values["gradient/guided/captum"]


def test_random_networks_are_theirs_and_ours() -> None:
    first, again, other = (random_network("conv3", 4, seed) for seed in (0, 0, 1))
    weights = [next(network.parameters()) for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert all(parameter.abs().max() > 0 for parameter in first.parameters())
    assert random_network("test_resnet", 4)(torch.rand(1, 3, 32, 32)).shape == (1, 4)


def test_aims_are_held_against_what_is_printed() -> None:
    met = {
        "time/ours/fem": 1.04,
        "time/ours/lrp_0": 2.24,
        "held/lrp_0": 0.34,
        "held/lrp_epsilon": 0.6,
        "peak/fem": 1.24,
    }
    assert missed_aims(met) == []
    assert missed_aims({"time/ours/fem": 1.06, "held/lrp_0": 0.36, "peak/lrp_0": 1.26}) == [
        "LRP-0 (holds 0.4 times what autograd saves)",
        "LRP-0 (a peak of 1.3 times the gradient's)",
        "FEM (1.1 passes)",
    ]
