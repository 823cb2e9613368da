"""Queries on a graph of `torch.fx`: what a node does, what a value needs, and a part of the graph as one of its own."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx
from torch.fx import Node

__all__ = ["InPlaceForm", "dominators", "extract", "names", "needed_nodes", "operation", "size_nodes"]

IN_PLACE = "in_place"  # key of a node's meta: its `InPlaceForm`


def names(words: str) -> frozenset[str]:
    """The set of the words of a text."""
    return frozenset(words.split())


_SIZES = names("size dim numel ndimension stride shape dtype device ndim")


@dataclass(frozen=True)
class InPlaceForm:
    """The in-place form of an operation that the graph holds out of place.

    Attributes:
        target: target of the node in place.
        kwargs: keyword arguments in place, added to the node's own.
        overwritten: nodes whose memory it overwrites.
    """

    target: Any
    kwargs: dict[str, Any]
    overwritten: frozenset[Node]


def operation(node: Node) -> str | None:
    """Name of a function of torch, torch.nn.functional or operator, or of a tensor's method; None for all others."""
    if node.op == "call_method":
        return str(node.target)
    name = getattr(node.target, "__name__", None)
    if node.op != "call_function" or name is None:
        return None
    known = any(getattr(place, name, None) is node.target for place in (torch, F, operator))
    return name if known or node.target is getattr else None


def size_nodes(graph: fx.Graph) -> set[Node]:
    """The nodes that hold sizes, dtypes and the like: they depend on a tensor's shape and not on its values."""
    found: set[Node] = set()
    for node in graph.nodes:
        name = operation(node)
        operands = node.all_input_nodes
        queried = name in _SIZES or (name == "getattr" and node.args[1] in _SIZES)
        if queried or (operands and node.op == "call_function" and found.issuperset(operands)):
            found.add(node)
    return found


def needed_nodes(inputs: Iterable[Node], outputs: Iterable[Node]) -> set[Node]:
    """The nodes to compute for `outputs` once `inputs` are given (these not among them)."""
    given, needed, todo = set(inputs), set[Node](), list(outputs)
    while todo:
        node = todo.pop()
        if node not in given and node not in needed:
            needed.add(node)
            todo += node.all_input_nodes
    return needed


def dominators(graph: fx.Graph) -> set[Node]:
    """The nodes that lie on every path from the graph's input to its output."""
    placeholder = next(iter(graph.nodes))
    through: dict[Node, set[Node]] = {placeholder: {placeholder}}
    for node in graph.nodes:
        sources = [through[operand] for operand in node.all_input_nodes if operand in through]
        if sources:
            through[node] = set.intersection(*sources) | {node}
    return through.get(graph.output_node(), set())


def extract(inputs: Sequence[Node], outputs: Node | Sequence[Node], in_place: bool = False) -> fx.Graph:
    """The function from the values of `inputs` to those of `outputs`, as a graph of its own.

    Args:
        inputs: nodes that become its placeholders, in this order.
        outputs: the node that it returns, or the nodes that it returns as a tuple.
        in_place: whether operations that the network does in place are in place again, where they overwrite neither
            inputs nor outputs.
    """
    single = isinstance(outputs, Node)
    goals: list[Node] = [outputs] if isinstance(outputs, Node) else list(outputs)
    needed = needed_nodes(inputs, goals)
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in goals[0].graph.nodes:
        if node in needed:
            copies[node] = copied = graph.node_copy(node, copies.__getitem__)
            if in_place and IN_PLACE in node.meta:
                form: InPlaceForm = node.meta[IN_PLACE]
                if form.overwritten.isdisjoint((*inputs, *goals)):
                    copied.target, copied.kwargs = form.target, copied.kwargs | form.kwargs
    graph.output(copies[goals[0]] if single else tuple(copies[node] for node in goals))
    return graph
