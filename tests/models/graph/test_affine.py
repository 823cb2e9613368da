"""Affine nodes of networks drawn by hand; `test_split` tests on real ones that they are affine, and all of them."""

import torch
from torch import Tensor, nn

from xcnn.models.graph import TracedNetwork, affine_nodes, is_affine, needed_nodes, operation


class Two(nn.Module):
    """An affine branch and one with a square."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        a = self.second(x) * 2
        return torch.cat([a + x, x * a], 1).mean((2, 3))


def test_branches() -> None:
    traced = TracedNetwork(Two())
    cut = traced.cut("first")
    head = needed_nodes([cut], [traced.output])
    found = affine_nodes(traced.graph, head, cut, traced.root)
    assert [operation(node) or traced.layer(node) for node in traced.graph.nodes if node in found] == [
        "first",
        "second",
        "mul",
        "add",
    ]


def test_one_operation_in_its_varying_operands() -> None:
    traced = TracedNetwork(Two())
    nodes = {node.name: node for node in traced.graph.nodes}
    product = nodes["mul_1"]
    first, second = product.args
    assert is_affine(product, [first], traced.root) and is_affine(product, [second], traced.root)
    assert not is_affine(product, [first, second], traced.root)
    assert is_affine(nodes["cat"], [*nodes["cat"].all_input_nodes], traced.root)
