"""The calls of a traced network that depend on its images, and what the graph alone says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.fx import Node
from torch.nn.modules import conv

from xcnn.attribution.backward.operations import NONNEGATIVE, gate_of, keeps_sign, kind_of, place_of
from xcnn.models.graph import TracedNetwork, size_nodes

__all__ = ["Call", "dependent_nodes", "find_calls", "function_of", "join_calls"]

WEIGHTED = ("convolution", "linear")


@dataclass(eq=False)
class Call:
    """One call of an operation, and what is known of it before any image is.

    Attributes:
        node: node of its result.
        kind: kind of the operation, see `operations.KINDS`.
        place: qualified name of the layer that makes the call; "" for the network itself.
        operands: nodes of the operands that depend on the images, for which the rule forms multipliers.
        positions: "first" and "last" where it is a convolution or linear layer with no other before or after it.
        linear: node of its convolution or linear layer, if it has one.
        norm: node of its BatchNorm, alone or taken together with `linear`.
        before: node of the activation's operand, where an activation is taken together with `linear`.
        gate: index of the operand that is a gate, for a gated product.
        nonnegative: whether no operand is ever negative.
        masked: whether only ReLUs take the result, so that m is 0 where the result is not positive.
    """

    node: Node
    kind: str
    place: str
    operands: list[Node]
    positions: frozenset[str] = frozenset()
    linear: Node | None = None
    norm: Node | None = None
    before: Node | None = None
    gate: int = -1
    nonnegative: bool = False
    masked: bool = False

    def __str__(self) -> str:
        return f"{self.kind} ({self.node.name}" + (f", in layer {self.place!r})" if self.place else ")")


def dependent_nodes(traced: TracedNetwork) -> set[Node]:
    """The nodes whose values depend on the images' values."""
    sizes, found = size_nodes(traced.graph), {traced.placeholder}
    for node in traced.graph.nodes:
        if node.op != "output" and node not in sizes and found.intersection(node.all_input_nodes):
            found.add(node)
    return found


def find_calls(traced: TracedNetwork, dependent: set[Node]) -> dict[Node, Call]:
    """Every call between images and logits by its node, in forward order."""
    needed = {traced.output}
    for node in reversed(traced.graph.nodes):
        if node in needed:
            needed.update(dependent.intersection(node.all_input_nodes))
    calls: dict[Node, Call] = {}
    for node in traced.graph.nodes:
        if node not in needed & dependent or node is traced.placeholder:
            continue
        operands: list[Node] = []
        fx.map_arg((node.args, node.kwargs), operands.append)
        operands = [operand for operand in operands if operand in dependent]
        kind = kind_of(node, operands, traced)
        call = calls[node] = Call(node, kind, place_of(node), operands)
        if kind in WEIGHTED:
            call.linear = node
        elif kind == "batch_norm":
            call.norm = node
        elif kind == "gated":
            call.gate = gate_of(operands, traced)
    _analyse(calls, traced)
    return calls


def _analyse(calls: dict[Node, Call], traced: TracedNetwork) -> None:
    """Set signs, masks and positions."""
    nonnegative, after, before = set[Node](), set[Node](), set[Node]()
    for node, call in calls.items():
        call.nonnegative = nonnegative.issuperset(call.operands)
        if call.kind in NONNEGATIVE or (call.nonnegative and keeps_sign(node, call.kind, call.operands, traced)):
            nonnegative.add(node)
        users = [calls[user] for user in node.users if user in calls]
        call.masked = bool(users) and all(user.kind in ("relu", "relu6") for user in users)
        weighted, follows = call.kind in WEIGHTED, not after.isdisjoint(call.operands)
        if weighted and not follows:
            call.positions |= {"first"}
        if weighted or follows:
            after.add(node)
    for node, call in reversed(calls.items()):
        weighted, precedes = call.kind in WEIGHTED, node in before
        if weighted and not precedes:
            call.positions |= {"last"}
        if weighted or precedes:
            before.update(call.operands)


def join_calls(calls: dict[Node, Call], rules: dict[Node, Any], traced: TracedNetwork) -> list[Call]:
    """The calls, with those that one rule takes together as one; `rules` is changed accordingly.

    A BatchNorm is joined to the convolution or linear layer whose result it alone takes, where that one's rule `folds`
    or the activation's after it `joins`; an activation whose rule `joins` is joined to its linear map.
    """
    gone = set[Node]()

    def joins(call: Call) -> bool:
        return getattr(function_of(rules[call.node]), "joins", False)

    def alone(call: Call) -> Call | None:
        """The call whose result this one alone takes, if that is a convolution or linear layer."""
        found = calls.get(call.operands[0]) if len(call.operands) == 1 else None
        return found if found is not None and found.linear is not None and len(found.node.users) == 1 else None

    for node, call in calls.items():
        earlier = alone(call)
        if earlier is None or earlier.before is not None:
            continue
        if call.kind == "batch_norm" and earlier.norm is None:
            user = calls.get(next(iter(node.users))) if len(node.users) == 1 else None
            folds = getattr(function_of(rules[earlier.node]), "folds", False)
            transposed = isinstance(traced.module(earlier.node), conv._ConvTransposeNd)
            if transposed or not (folds or (user is not None and joins(user))):
                continue
            call.linear, call.kind, call.positions = earlier.linear, earlier.kind, earlier.positions
            call.nonnegative, call.place = earlier.nonnegative, earlier.place
            rules[node] = rules[earlier.node]
        elif call.kind not in WEIGHTED and joins(call):
            call.linear, call.norm, call.before = earlier.linear, earlier.norm, earlier.node
        else:
            continue
        call.operands = earlier.operands
        gone.add(earlier.node)
    return [call for node, call in calls.items() if node not in gone]


def function_of(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a rule whose options are set."""
    return getattr(rule, "func", rule)
