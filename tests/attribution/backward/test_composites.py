"""Composites as data: those of the repository, of one's own, and what is refused."""

from pathlib import Path

import pytest
import torch

from tests.attribution.backward.networks import Small, images, small
from tests.attribution.networks import assert_same
from xcnn.attribution import LRP
from xcnn.attribution.backward import COMPOSITES, Call, Values, read_composite
from xcnn.attribution.backward.walk import Sent
from xcnn.errors import UserError


def doubled(call: Call, m: torch.Tensor, values: Values, factor: float = 2.0) -> Sent:
    """A rule of one's own: needs nothing declared."""
    assert values.inputs[0].shape == m.shape and values.output.shape == m.shape
    return (factor * m * (values.output > 0),)


@pytest.mark.parametrize("path", sorted(COMPOSITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_composite_serves_a_convolutional_network(path: Path) -> None:
    found = LRP(small(), path.stem) if "deep_lift" not in path.stem else None
    assert read_composite(path.stem).choices
    if found is not None:
        assert found.relevance(images(1), 1).abs().max() > 0


def test_position_layer_and_options(tmp_path: Path) -> None:
    """The first choice that fits is taken; the rest come from the composite that is extended."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: lrp_epsilon\n"
        "rules:\n"
        "  - {operation: [convolution, linear], position: first, rule: flat}\n"
        "  - {operation: convolution, layer: 'conv[12]', rule: gamma, gamma: 0.5}\n"
        "  - {operation: linear, position: last, rule: alpha_beta, alpha: 3.0, beta: 2.0}\n"
    )
    walk = LRP(small(), path).walk
    rules = {call.place: walk.rules[call.node] for call in walk.calls if call.kind in ("convolution", "linear")}
    named = {place: getattr(rule, "func", rule).__name__ for place, rule in rules.items()}
    assert named == {
        "stem": "flat",
        "conv1": "gamma",
        "conv2": "gamma",
        "conv3": "epsilon",
        "hidden": "epsilon",
        "last": "alpha_beta",
    }
    assert rules["conv1"].keywords == {"gamma": 0.5} and rules["last"].keywords == {"alpha": 3.0, "beta": 2.0}  # type: ignore[attr-defined]


def test_a_rule_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: lrp_0\nrules:\n  - {{operation: relu, rule: {__name__}.doubled, factor: 0.5}}\n")
    model, x = small(), images()
    expected = LRP(model, "lrp_0").relevance(x, 1)
    found = LRP(model, path).relevance(x, 1)
    assert (found - expected).abs().max() > 0.1 * expected.abs().max()
    path.write_text(f"extends: lrp_0\nrules:\n  - {{operation: relu, rule: {__name__}.doubled, factor: 1}}\n")
    assert_same(LRP(model, path).relevance(x, 1), expected, 1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rules:\n  - {operation: linear, rule: epsilom}\n",
            r"there is no rule 'epsilom'; there are .*epsilon.*import",
        ),
        ("rules:\n  - {operation: linear, rule: json.nothing}\n", "there is no rule 'json.nothing'"),
        ("rules:\n  - {operation: lienar, rule: epsilon}\n", "unknown operation 'lienar'; there are .*linear"),
        ("rules:\n  - {position: middle, rule: epsilon}\n", "unknown position 'middle'; there are first, last"),
        ("rules:\n  - {rule: epsilon, gamma: 1}\n", "rule 'epsilon' has no option gamma; it has epsilon, bias"),
        ("rules:\n  - {operation: linear}\n", "names no rule; write"),
        ("layers: []\n", "is no composite: it has `rules:`"),
        ("extends: lrp_9\nrules: []\n", "there is no composite 'lrp_9'"),
        ("rules:\n  - {operation: relu, rule: mask}\n", r"'mine' has no rule for linear \(.*'last'\)"),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        LRP(small(Small), path)
