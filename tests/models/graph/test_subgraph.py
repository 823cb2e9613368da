"""Queries on small graphs that are drawn by hand."""

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from xcnn.models.graph import dominators, extract, needed_nodes, operation, size_nodes


def graph(function) -> tuple[fx.Graph, dict[str, fx.Node]]:  # type: ignore[no-untyped-def]
    traced = fx.symbolic_trace(function).graph
    return traced, {node.name: node for node in traced.nodes}


def diamond(x: Tensor) -> Tensor:
    a = x.relu()
    return torch.add(a.neg(), a.exp()).sum()


def names(nodes: set[fx.Node]) -> set[str]:
    return {node.name for node in nodes}


def test_dominators_are_what_every_path_passes() -> None:
    assert names(dominators(graph(diamond)[0])) == {"x", "relu", "add", "sum_1", "output"}


def test_needed_nodes_stop_at_what_is_given() -> None:
    _, node = graph(diamond)
    assert names(needed_nodes([node["relu"]], [node["add"]])) == {"neg", "exp", "add"}
    assert names(needed_nodes([node["neg"]], [node["add"]])) == {"x", "relu", "exp", "add"}
    assert needed_nodes([node["add"]], [node["add"]]) == set()


def test_extract_is_the_function_between() -> None:
    _, node = graph(diamond)
    module = fx.GraphModule(torch.nn.Module(), extract([node["neg"], node["exp"]], [node["add"], node["sum_1"]]))
    added, total = module(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    assert added.tolist() == [4, 6] and total.item() == 10


def test_sizes_are_not_values() -> None:
    def sized(x: Tensor) -> Tensor:
        n, m = x.size(0), x.shape[1]
        return x.view(n, m * 2, -1) + x.mean()

    found = size_nodes(graph(sized)[0])
    assert {operation(node) for node in found} == {"size", "getattr", "getitem", "mul"}
    assert not any(operation(node) in ("view", "mean", "add") for node in found)


def test_operations_by_name() -> None:
    def mine(x: Tensor) -> Tensor:
        return x

    traced, _ = graph(lambda x: F.relu(torch.relu(x.relu()) + 1))
    assert [operation(node) for node in traced.nodes] == [None, "relu", "relu", "add", "relu", None]
    node = traced.create_node("call_function", mine)
    assert operation(node) is None
