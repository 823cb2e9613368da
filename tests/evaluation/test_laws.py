"""The laws by which `breadth` judges the methods: they hold on small networks, and not where a rule is broken."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.backward.networks import Gated, Small, images, small
from xcnn.attribution import LRP
from xcnn.attribution.backward import Call, Values
from xcnn.attribution.backward.walk import Sent
from xcnn.evaluation.laws import cases, kept

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


def test_a_relu_with_an_upper_end_is_not_judged_by_its_slope() -> None:
    open_, ended = (
        nn.Sequential(nn.Conv2d(3, 4, 3), kind(), nn.Flatten(), nn.LazyLinear(4)) for kind in (nn.ReLU, nn.ReLU6)
    )
    for network, bears in ((open_, True), (ended, False)):
        network.double()(images())
        with torch.no_grad():
            network[0].weight.mul_(100)  # beyond 6
        assert math.isnan(CASES["deconvnet"](network, images(), TARGETS)) is not bears


def test_a_broken_rule_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: lrp_0\nrules:\n  - {{operation: relu, rule: {__name__}.leaking}}\n")
    assert kept(LRP(small(), path), images(), TARGETS) > 1e-3
