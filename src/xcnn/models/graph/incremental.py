"""Incremental inference: the network's output after changes of a few places, without running it on all the others.

A changed place of an image or of a feature map changes the values of its receptive field alone. So the changes of many
patches are carried forwards through the graph, as rows of all places that they reach: convolutions are products of
those rows with their weights, tap by tap, and residual connections and concatenations join the places of their
branches (`models.graph.local`). All is exact up to rounding. Krypton does the same for occlusion (Nakandala, Kumar,
Papakonstantinou: Incremental and approximate inference for faster occlusion-based deep CNN explanations, SIGMOD 2019);
it recomputes windows of values where this adds up changes, which for a convolution that spreads n x n places to
(n + 2) x (n + 2) takes n x n products and not (n + 2) x (n + 2).

At an operation that mixes all places, or that is unknown here, the changed value is formed as a whole, and what follows
runs as the network does. The values without a change are computed once for each image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx import Node
from torch.utils._pytree import tree_map_only

from xcnn.device import in_chunks
from xcnn.errors import UserError
from xcnn.models.graph.changes import Base, Change
from xcnn.models.graph.local import local_rule
from xcnn.models.graph.rule import Rule
from xcnn.models.graph.subgraph import needed_nodes, size_nodes
from xcnn.models.graph.tracing import TracedNetwork

__all__ = ["Incremental", "Propagation"]

# Bytes of the largest value of a chunk of patches, of which two or three are held at a time: enough for efficient
# products. With the values without a change the whole takes 5 to 8 times the memory of a pass of ResNet-50.
CHUNK_BYTES = 6 * 2**20


@dataclass(frozen=True)
class Step:
    """A node that changes: its rule, None where it is run as a whole; the operands that change, and those used last."""

    node: Node
    rule: Rule | None
    operands: list[Node]
    last: frozenset[Node]


class Incremental:
    """The output of a network for changes of one node's value, patch by patch.

    Args:
        network: the traced network.
        start: node whose value is changed: that of the images, of a layer's output, or any other.
    """

    def __init__(self, network: TracedNetwork, start: Node) -> None:
        self.network, self.start = network, start
        needed = needed_nodes([start], [network.output])
        self._nodes = [node for node in network.graph.nodes if node in needed]
        self._sizes = size_nodes(network.graph)
        self._changing = {start}
        for node in self._nodes:
            if self._changing.intersection(node.all_input_nodes):
                self._changing.add(node)
        self._last: dict[Node, Node] = {operand: node for node in self._nodes for operand in node.all_input_nodes}

    @torch.no_grad()
    def base(self, value: Tensor, images: Tensor | None = None) -> "Propagation":
        """The values of all nodes without a change.

        Args:
            value: value of the start for N images, maps (N, K, H, W) or vectors (N, K).
            images: the images (N, C, H, W), if the output depends on them other than through the start.

        Raises:
            UserError: the images are needed and not given.
        """
        base, steps, whole = Base(), list[Step](), set[Node]()
        values: dict[Node, Any] = {self.start: value}
        kept = {self.network.output}
        interpreter = fx.Interpreter(self.network.root, graph=self.network.graph)
        base.shapes[self.start] = value.shape
        for node in self._nodes:
            if node is self.network.placeholder:
                if images is None:
                    raise UserError(f"what follows {self.start.name!r} also depends on the images: pass them.")
                result: Any = images
            else:
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                result = getattr(interpreter, node.op)(node.target, args, kwargs)
            values[node] = result
            if isinstance(result, Tensor):
                base.shapes[node] = result.shape
            if node in self._changing:
                operands: list[Node] = []
                fx.map_arg((node.args, node.kwargs), operands.append)
                operands = [other for other in operands if other in self._changing and other not in self._sizes]
                rule = None
                if operands and whole.isdisjoint(operands):
                    rule = local_rule(node, operands, self.network.root, base.shapes)
                if rule is None:
                    whole.add(node)
                if rule is not None or node not in self._sizes:
                    kept.update(rule.keeps if rule else node.all_input_nodes)
                last = frozenset(other for other in node.all_input_nodes if self._last[other] is node)
                steps.append(Step(node, rule, operands, last))
            for operand in node.all_input_nodes:
                if self._last[operand] is node and operand not in kept:
                    del values[operand]
        base.values = {node: values[node] for node in values if node in kept}
        return Propagation(self, base, steps, value)


class Propagation:
    """The values of N images without a change, and what changes of the start's value make of the output.

    Attributes:
        value: the start's value.
        output: the network's output without a change, (N, classes).
        whole: names of the operations that run on whole values, because they mix all places, are unknown, or follow
            such a one; the first of them is the reason.
    """

    def __init__(self, incremental: Incremental, base: Base, steps: Sequence[Step], value: Tensor) -> None:
        self.value, self._base, self._steps = value, base, steps
        self._incremental, self._network = incremental, incremental.network
        self.output: Tensor = base.values[self._network.output]
        sizes = incremental._sizes
        self.whole = [step.node.name for step in steps if step.rule is None and step.node not in sizes]

    @torch.no_grad()
    def deltas(self, count: int, change: Callable[[slice], Change], chunk: int | None = None) -> Tensor:
        """What patches add to the output, (P, classes).

        Args:
            count: number of patches P, at least 1.
            change: the change of the start's value by some of the patches, such as `patch_change` gives.
            chunk: number of patches at a time; None takes as many as fit the cache or the free memory.
        """
        if chunk is None:
            middle = count // 2  # one at the border reaches fewer places
            _, largest = self._walk(change(slice(middle, middle + 1)))
            chunk = max(1, chunk_bytes(self.value.device) // max(1, largest))
        return torch.cat(in_chunks(count, chunk, lambda part: self._walk(change(part))[0]))

    def _walk(self, change: Change) -> tuple[Tensor, int]:
        """The change of the output (P, classes), and the bytes of the largest value on the way."""
        values: dict[Node, Any] = {self._incremental.start: change}
        image, largest = change.regions.image, 0
        for step in self._steps:
            if step.rule is None:
                result: Any = self._run_whole(step.node, values, image)
            else:
                once = {operand for operand in step.last if step.operands.count(operand) == 1}
                changes = [replace(values[operand], spent=operand in once) for operand in step.operands]
                result = step.rule(changes, self._base)
            values[step.node] = result
            rows = result.rows if isinstance(result, Change) else result
            largest = max(largest, rows.nbytes if isinstance(rows, Tensor) else 0)
            for operand in step.last:
                values.pop(operand, None)
        output = values[self._network.output]
        if isinstance(output, Change):
            return output.maps(self.output.shape[1]).flatten(1), largest
        return output - self.output[image], largest

    def _run_whole(self, node: Node, values: dict[Node, Any], image: Tensor) -> Any:
        """A node's value for every patch, from whole values of its operands."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda other: self._whole(other, node, values, image))
        interpreter = fx.Interpreter(self._network.root, graph=self._network.graph)
        return getattr(interpreter, node.op)(node.target, args, kwargs)

    def _whole(self, node: Node, user: Node, values: dict[Node, Any], image: Tensor) -> Any:
        """The value that a user of a node takes, for every patch."""
        base: Any = self._base.values.get(node)
        if user in self._incremental._sizes and node in self._base.shapes:
            # Sizes need no values: one number seen through a shape without strides.
            return self.value.new_zeros(()).expand(len(image), *self._base.shapes[node][1:])
        if node in values:
            found = values[node]
            if not isinstance(found, Change):
                return found
            added = found.maps(self._base.shapes[node][1])
            return base[image] + (added if base.ndim == 4 else added.flatten(1))
        if node.op == "get_attr" or not self._depends_on_images(node):
            return base
        if node in self._incremental._sizes:
            return self._run_whole(node, values, image)
        return tree_map_only(Tensor, lambda tensor: tensor[image], base)

    def _depends_on_images(self, node: Node) -> bool:
        return self._network.placeholder in needed_nodes([], [node])


def chunk_bytes(device: torch.device) -> int:
    """Bytes of the largest value of a chunk of patches."""
    if device.type == "cuda":
        return max(CHUNK_BYTES, torch.cuda.mem_get_info(device)[0] // 64)
    return CHUNK_BYTES
