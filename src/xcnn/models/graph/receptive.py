"""Which pixels of the images a layer's locations depend on, from the operations of the traced graph."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import Node

from xcnn.errors import UserError
from xcnn.models.checks import first_weight
from xcnn.models.graph.convolution import Convolution
from xcnn.models.graph.local import local_rule
from xcnn.models.graph.regions import Window
from xcnn.models.graph.rules import AveragePool, Flatten, Linear, MaxPool, Mean
from xcnn.models.graph.subgraph import needed_nodes, size_nodes
from xcnn.models.graph.tracing import TracedNetwork

__all__ = ["ReceptiveField", "receptive_fields"]

Spans = tuple[Tensor, Tensor]  # rows (h, 2) and columns (w, 2): first pixel, and the one after the last


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive fields of the locations (h, w) of a layer: rectangles, clipped to the image.

    Attributes:
        rows: (h, 2) int64, the first row of pixels that the i-th row of locations depends on, and the one after the
            last.
        columns: (w, 2), likewise.
    """

    rows: Tensor
    columns: Tensor

    @property
    def side(self) -> tuple[int, int]:
        """Height and width in pixels of the largest field; those at the border may be clipped."""
        return tuple(int((spans[:, 1] - spans[:, 0]).max()) for spans in (self.rows, self.columns))  # type: ignore[return-value]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of a location's field in pixels, x1 and y1 exclusive."""
        (top, bottom), (left, right) = self.rows[row].tolist(), self.columns[column].tolist()
        return left, top, right, bottom


def receptive_fields(
    network: TracedNetwork, layers: list[str], input_size: tuple[int, int, int]
) -> list[ReceptiveField]:
    """The receptive field of each layer's locations: the smallest rectangles that hold all pixels they depend on.

    A convolution or pooling widens the fields of its window; a sum or concatenation joins those of its operands; an
    operation that mixes all places, or that is unknown, depends on all that its operands depend on.

    Args:
        network: the traced network.
        layers: names of layers that cut it and give maps.
        input_size: (C, H, W) of the images.

    Raises:
        UserError: a layer does not cut the network, or gives no maps.
    """
    cuts = {layer: network.cut(layer) for layer in layers}
    shapes = _Shapes(network.root, graph=network.graph).of(network, input_size)
    for layer, cut in cuts.items():
        if len(shapes.get(cut, ())) != 4:
            raise UserError(
                f"layer {layer!r} gives {tuple(shapes.get(cut, ()))[1:]} per image, not maps (filters, h, w)."
            )
    needed, sizes = needed_nodes([network.placeholder], cuts.values()), size_nodes(network.graph)
    fields: dict[Node, Spans] = {network.placeholder: _pixels(input_size[1:])}
    for node in network.graph.nodes:
        operands = [operand for operand in node.all_input_nodes if operand in fields]
        if node in needed and operands and node not in sizes and node in shapes:
            fields[node] = _after(node, operands, fields, network.root, shapes)
    return [ReceptiveField(*fields[cut]) for cut in cuts.values()]


def _pixels(size: tuple[int, int]) -> Spans:
    """The fields of the pixels themselves."""
    return tuple(torch.stack([torch.arange(n), torch.arange(n) + 1], 1) for n in size)  # type: ignore[return-value]


def _after(
    node: Node,
    operands: list[Node],
    fields: dict[Node, Spans],
    root: nn.Module,
    shapes: dict[Node, torch.Size],
) -> Spans:
    rule = local_rule(node, operands, root, shapes)
    after = tuple(shapes[node][2:]) if len(shapes[node]) == 4 else (1, 1)
    if _adaptive(node, root) and len(shapes[node]) == 4:
        return tuple(_bins(spans, n) for spans, n in zip(fields[operands[0]], after, strict=True))  # type: ignore[return-value]
    if rule is None or isinstance(rule, Mean | Flatten | Linear):
        everything = [torch.cat([fields[operand][axis] for operand in operands]) for axis in (0, 1)]
        return tuple(_bins(spans, 1).repeat(m, 1) for spans, m in zip(everything, after, strict=True))  # type: ignore[return-value]
    window = rule.window if isinstance(rule, Convolution | MaxPool | AveragePool) else None
    if window is not None:
        spans = fields[operands[0]]
        return tuple(_windows(window, axis, spans[axis], after[axis]) for axis in (0, 1))  # type: ignore[return-value]
    return tuple(_joined([fields[operand][axis] for operand in operands]) for axis in (0, 1))  # type: ignore[return-value]


def _windows(window: Window, axis: int, spans: Tensor, outputs: int) -> Tensor:
    """Spans (n, 2) along an axis to those of the outputs (outputs, 2), whose windows hold the taps inside the map."""
    kernel, stride = window.kernel[axis], window.stride[axis]
    taps = torch.arange(outputs)[:, None] * stride - window.padding[axis] + window.dilation[axis] * torch.arange(kernel)
    inside = (taps >= 0) & (taps < len(spans))
    places = taps.clamp(0, len(spans) - 1)
    first = torch.where(inside, spans[places, 0], spans[:, 0].max()).amin(1)
    last = torch.where(inside, spans[places, 1], spans[:, 1].min()).amax(1)
    return torch.stack([first, last], 1)


def _bins(spans: Tensor, outputs: int) -> Tensor:
    """The same of an adaptive pooling, whose i-th window runs from floor(i n / m) to ceil((i + 1) n / m)."""
    n = len(spans)
    places = [(i * n // outputs, -(-(i + 1) * n // outputs)) for i in range(outputs)]
    return torch.stack([torch.stack([spans[a:b, 0].min(), spans[a:b, 1].max()]) for a, b in places])


def _joined(spans: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(spans)[..., 0].amin(0), torch.stack(spans)[..., 1].amax(0)], 1)


def _adaptive(node: Node, root: nn.Module) -> bool:
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    kinds = nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d
    return isinstance(module, kinds) or node.target in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)


class _Shapes(fx.Interpreter):
    """Shapes of all values that are tensors, for one image."""

    def of(self, network: TracedNetwork, input_size: tuple[int, int, int]) -> dict[Node, torch.Size]:
        self.found: dict[Node, torch.Size] = {}
        weight = first_weight(network.root)
        with torch.inference_mode():
            self.run((torch.zeros(()) if weight is None else weight).new_zeros(1, *input_size))
        return self.found

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.found[n] = value.shape
        return value
