"""In-place operations become out-of-place ones with the same result; what cannot be followed is refused."""

import operator

import pytest
import torch
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.models.graph import OpaqueModule, TracedNetwork, operation
from xcnn.models.graph.subgraph import IN_PLACE


class Function(nn.Module):
    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.conv, self.relu, self.function = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.conv(x))


@pytest.mark.parametrize(
    ("function", "pure"),
    [
        (lambda m, x: operator.iadd(x, 1), "add"),
        (lambda m, x: operator.imul(x, 2), "mul"),
        (lambda m, x: x.clamp_(0, 0.5), "clamp"),
        (lambda m, x: torch.relu_(x), "relu"),
        (lambda m, x: nn.functional.relu(x, inplace=True), "relu"),
        (lambda m, x: m.relu(x), None),
    ],
)
@torch.no_grad()
def test_the_operand_keeps_its_value(function, pure: str | None) -> None:  # type: ignore[no-untyped-def]
    model, images = Function(function), torch.rand(1, 3, 4, 4) - 0.5
    traced = TracedNetwork(model)
    (conv,) = traced.outputs["conv"]
    before, after = traced.subgraph([traced.placeholder], [conv, traced.output])(images)  # type: ignore[list-item]
    assert torch.equal(before, model.conv(images)) and torch.equal(after, model(images.clone()))
    assert not torch.equal(before, after) and operation(traced.output) == pure
    form = traced.output.meta[IN_PLACE]  # its in-place form overwrites the convolution's result alone
    assert form.overwritten == {conv}
    assert model.relu.inplace


def test_images_and_parameters_are_never_overwritten() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten())
    traced = TracedNetwork(model)
    assert not any(IN_PLACE in node.meta for node in traced.graph.nodes)


def test_refusals() -> None:
    def viewed(m: Function, x: Tensor) -> Tensor:
        x.flatten(1).relu_()
        return x

    def held(m: Function, x: Tensor) -> Tensor:
        view = x[:, :2]
        x.relu_()
        return view

    with pytest.raises(UserError, match=r"in place \(relu_?\).* while a view of it"):
        TracedNetwork(Function(viewed))
    with pytest.raises(UserError, match=r"while a view of it \(getitem\)"):
        TracedNetwork(Function(held))
    with pytest.raises(UserError, match=r"uses 'zero_', which has no out-of-place form"):
        TracedNetwork(Function(lambda m, x: x.zero_()))


def test_opaque_modules_that_change_their_input_are_refused() -> None:
    class Changes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu_()

    given = torch.tensor([-1.0, 1.0])
    with pytest.raises(UserError, match=r"Changes changes its input in place, and torch.fx cannot trace it \(why\)"):
        OpaqueModule(Changes(), "why")(given)
    assert given.tolist() == [-1, 1]
    assert OpaqueModule(nn.ReLU(), "why")(given).tolist() == [0, 1]
