"""The reverse walk over a traced network: each operand's multiplier from that of the result, by a table of rules.

A multiplier m of a value a stands for the relevance R = a m. Sending m backwards instead of R makes LRP-0 the gradient,
without a division, and a skip connection a plain transpose. Every call is a node of its own, so reused modules,
functions and in-place operations are all alike; what comes back to a value from several users is summed. Nothing in the
user's network is rewritten.
"""

import copy
from collections import ChainMap, defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx import Node

from xcnn.attribution.backward.calls import Call, dependent_nodes, find_calls, function_of, join_calls
from xcnn.attribution.backward.linear_map import LinearMap
from xcnn.attribution.backward.operations import argument, evaluate, pooled_with_indices
from xcnn.attribution.batch import Batch
from xcnn.errors import UserError
from xcnn.models.graph import TracedNetwork

__all__ = ["Recorded", "Relevance", "Rule", "Sent", "Values", "Walk"]

NEEDS = frozenset({"inputs", "output"})  # of a rule that does not say what it reads


class Relevance(NamedTuple):
    """What a rule sends to an operand whose relevance is not a multiple of it (z-box, w^2)."""

    values: Tensor


# One entry for each operand; a dict of multipliers by index where the operand is a tuple; None where there is none.
Sent = tuple[Tensor | Relevance | dict[int, Tensor] | None, ...]
Rule = Callable[[Call, Any, "Values"], Sent]  # (call, m of its result, values) -> m of each of the call's operands


class Values:
    """What the forward pass kept of one call for its rule.

    Attributes:
        shapes: shape of each operand; a tuple of shapes where it is a tuple.
        inputs: the operands, where the rule needs "inputs".
        output: the result, where it needs "output".
        active: where the result of a ReLU or ReLU6 is on its slope, where it needs "active".
        indices: where in its plane each maximum was taken (flat, int32), where it needs "indices".
        before: z, between a linear map and the activation taken together with it, where it needs "before".
        reference: the same of the pass of the reference, which is one image; None outside of DeepLIFT.
    """

    inputs: tuple[Any, ...]
    output: Any
    active: Tensor
    indices: Tensor
    before: Tensor

    def __init__(
        self,
        traced: TracedNetwork,
        call: Call,
        needs: frozenset[str],
        values: Mapping[Node, Any],
        constants: Mapping[Node, Any],
        indices: Tensor | None,
    ) -> None:
        self._traced, self._call, self._constants = traced, call, constants
        self.reference: Values | None = None
        inputs, output = tuple(values[node] for node in call.operands), values[call.node]
        self.shapes: tuple[Any, ...] = tuple(_shape(value) for value in inputs)
        self._like = torch.zeros((), dtype=values[traced.placeholder].dtype, device=values[traced.placeholder].device)
        if "inputs" in needs:
            self.inputs = inputs
        if "output" in needs:
            self.output = output
        if "active" in needs:
            self.active = (output > 0) & (output < 6) if call.kind == "relu6" else output.bool()
        if "before" in needs and call.before is not None:
            self.before = values[call.before]
        if indices is not None:
            self.indices = indices

    @cached_property
    def linear(self) -> LinearMap:
        """The call's linear map."""
        return LinearMap.of(self._traced, self._call.linear, self._call.norm, self._constants)

    def run(self, *operands: Any) -> Any:
        """The operation of the call's node with other values as its operands."""
        nodes = self._call.operands if self._call.before is None else [self._call.before]
        given = dict(zip(nodes, operands, strict=True))
        return evaluate(self._call.node, self._traced, ChainMap(given, self._constants))  # type: ignore[arg-type]

    def transpose(self, m: Any) -> Sent:
        """The transpose of the linear part of an affine operation, times m."""
        with torch.enable_grad():
            starts = [_zeros(shape, self._like) for shape in self.shapes]
            result = self.run(*starts)
            leaves = [leaf for start in starts for leaf in (start if isinstance(start, tuple) else (start,))]
            chosen = sorted(m) if isinstance(m, dict) else []
            results, given = ([result[i] for i in chosen], [m[i] for i in chosen]) if chosen else ([result], [m])
            parts = iter(torch.autograd.grad(results, leaves, given, allow_unused=True))
        return tuple(
            {i: part for i, part in enumerate(next(parts) for _ in start) if part is not None}
            if isinstance(start, tuple)
            else next(parts)
            for start in starts
        )

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """A constant argument of the operation: the module's attribute, or the function's argument."""
        module = self._traced.module(self._call.node)
        if module is not None:
            return getattr(module, name)
        return fx.map_arg(argument(self._call.node, position, name, default), self._constants.__getitem__)


class Recorded(Batch):
    """A forward pass: images, logits and, by the node of each call, what its rule needs.

    Attributes:
        values: by node.
    """

    def __init__(self, walk: "Walk", images: Tensor, logits: Tensor, values: dict[Node, Values]) -> None:
        super().__init__(images, logits)
        self.walk, self.values = walk, values

    @torch.no_grad()
    def send(
        self,
        start: Tensor | None = None,
        reference: "Recorded | None" = None,
        watch: Callable[[Call, Any, Values, Sent], None] | None = None,
        keep: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """The multiplier of the images (N, C, H, W), and the relevance that is no multiple of them, of that shape.

        May be called again, for other classes, if what the pass kept is kept.

        Args:
            start: multiplier of the logits (N, classes); None for 1 at each image's target and 0 elsewhere.
            reference: the pass of one reference image, for rules that compare with it.
            watch: called with each call, its multiplier, its values and what its rule sent to the operands.
            keep: whether the passes keep what they kept, for another walk; else it is freed as this one goes on.

        Raises:
            UserError: an earlier walk freed it.
        """
        if self.walk.calls and not self.values:
            raise UserError("what the forward pass kept was freed by an earlier walk; give that one keep=True.")
        placeholder = self.walk.traced.placeholder
        if start is None:
            start = torch.zeros_like(self.logits).scatter_(1, self.targets[:, None], 1)
        multipliers: dict[Node, Any] = {self.walk.traced.output: start}
        relevance, own = torch.zeros_like(self.images), set[Node]()
        for call in reversed(self.walk.calls):
            m = multipliers.pop(call.node, None)
            values = self._taken(call, keep)
            if reference is not None:
                values = copy.copy(values)
                values.reference = reference._taken(call, keep)
            if m is None:
                continue
            sent = self.walk.rules[call.node](call, m, values)
            if watch is not None:
                watch(call, m, values, sent)
            for index, (node, part) in enumerate(zip(call.operands, sent, strict=True)):
                if isinstance(part, Relevance):
                    if node is placeholder:
                        relevance += part.values
                        continue
                    a = values.inputs[index]
                    part = torch.where(a == 0, 0, part.values / a.where(a != 0, 1))
                if part is not None:
                    _add(multipliers, own, node, part)
        m = multipliers.get(placeholder)
        return torch.zeros_like(self.images) if m is None else m, relevance

    def _taken(self, call: Call, keep: bool) -> Values:
        """What the pass kept of a call, and keeps on only if it is to."""
        return self.values[call.node] if keep else self.values.pop(call.node)


class Walk:
    """The calls of a network that depend on its images, each with its rule.

    Args:
        traced: the network.
        choose: the rule of a call.

    Attributes:
        calls: those that multipliers reach, in forward order.
        rules: by node of a call.

    Raises:
        UserError: `choose` finds no rule for an operation.
    """

    def __init__(self, traced: TracedNetwork, choose: Callable[[Call], Rule]) -> None:
        self.traced = traced
        self._dependent = dependent_nodes(traced)
        calls = find_calls(traced, self._dependent)
        self.rules: dict[Node, Rule] = {}
        reached = {traced.output}
        for node, call in reversed(calls.items()):
            if node in reached:
                self.rules[node] = choose(call)
                constant = call.gate if getattr(function_of(self.rules[node]), "constant_gate", False) else -1
                reached.update(operand for i, operand in enumerate(call.operands) if i != constant)
        self.calls = join_calls({node: calls[node] for node in calls if node in reached}, self.rules, traced)
        self._by_node = {call.node: call for call in self.calls}
        self._freed = self._last_uses()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Recorded:
        """The forward pass, which keeps what the rules need."""
        values: dict[Node, Any] = {self.traced.placeholder: images}
        constants: dict[Node, Any] = {}
        kept: dict[Node, Values] = {}
        for node in self.traced.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            call, indices = self._by_node.get(node), None
            needs = frozenset[str]() if call is None else getattr(function_of(self.rules[node]), "needs", NEEDS)
            if "indices" in needs:
                values[node], indices = pooled_with_indices(node, self.traced.module(node), values)
            else:
                values[node] = evaluate(node, self.traced, values)
            if node not in self._dependent:
                constants[node] = values[node]
            elif call is not None:
                kept[node] = Values(self.traced, call, needs, values, constants, indices)
            for other in self._freed.get(node, ()):
                del values[other]
        return Recorded(self, images, values[self.traced.output], kept)

    def _last_uses(self) -> dict[Node, list[Node]]:
        """The values that depend on the images and are used last at each node; not the images themselves."""
        last: dict[Node, Node] = {}
        for node in self.traced.graph.nodes:
            last.update(dict.fromkeys(node.all_input_nodes, node))
            if node in self._by_node:  # a call taken together with others reads their operands
                last.update(dict.fromkeys(self._by_node[node].operands, node))
        freed = defaultdict[Node, list[Node]](list)
        for operand, node in last.items():
            if operand in self._dependent and operand not in (self.traced.output, self.traced.placeholder):
                freed[node].append(operand)
        return dict(freed)


def _add(multipliers: dict[Node, Any], own: set[Node], node: Node, part: Any) -> None:
    """Add to a node's multiplier, in place where it is a sum of our own."""
    found = multipliers.get(node)
    if isinstance(part, dict):
        merged = multipliers.setdefault(node, {})
        for index, each in part.items():
            merged[index] = merged[index] + each if index in merged else each
    elif found is None:
        multipliers[node] = part
    elif node in own:
        found += part
    else:
        multipliers[node] = found + part
        own.add(node)


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else tuple(_shape(each) for each in value)


def _zeros(shape: Any, like: Tensor) -> Any:
    if isinstance(shape, torch.Size):
        return like.expand(shape).detach().requires_grad_()
    return tuple(_zeros(each, like) for each in shape)
