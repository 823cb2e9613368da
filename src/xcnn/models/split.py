"""Cutting a network at a layer into a trunk (images to features) and a head (features to logits).

The network is traced as `models.graph.TracedNetwork` says: in evaluation mode, on a copy of its module structure that
shares the very same parameters and buffers, and with out-of-place operations only. So features are a layer's true
output, and nothing that runs later changes the tensor that the caller holds. Where no gradient is recorded, an
operation is in place after all if nobody can hold what it overwrites.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, fx, nn
from torch.fx import Node

from xcnn.errors import UserError
from xcnn.models.checks import first_weight, fitting_images
from xcnn.models.graph import TracedNetwork, affine_nodes, extract, needed_nodes

__all__ = ["Split", "cuttable_layers", "split_along", "split_at", "split_at_each"]


class Split:
    """A network cut at a layer: `head(trunk(images))` is the network's logits in evaluation mode.

    Weights that the user later updates in place are seen. Safe to call from several threads; differentiable with
    respect to images and features, and nothing is accumulated in a parameter's `.grad` unless the caller runs
    `backward` himself (`torch.autograd.grad` does not).

    Args:
        network: the traced network.
        layer: qualified name of the layer that is named in messages.
        cut: node of the features; None takes the output of `layer`.

    Attributes:
        layer: qualified name of the layer whose output is cut.
        network: the traced network.
        cut: node of the features.
        root: module that holds the network's evaluation-mode copy, whose parameters and buffers are the user's.
        affine: whether the whole head is affine in the features.
    """

    def __init__(self, network: TracedNetwork, layer: str, cut: Node | None = None) -> None:
        self.layer, self.network, self.root = layer, network, network.root
        self.cut = network.cut(layer) if cut is None else cut
        head = needed_nodes([self.cut], [network.output])
        affine = affine_nodes(network.graph, head, self.cut, network.root)
        self.affine = network.output in affine
        self._rest_nodes = needed_nodes(affine, [network.output])
        used = {operand for node in self._rest_nodes for operand in node.all_input_nodes} | {network.output}
        self._frontier = [node for node in network.graph.nodes if node in used and node in affine]

    def trunk(self, images: Tensor) -> Tensor:
        """Features of the images, (N, C, H, W) to (N, K, h, w): the layer's output before anything that follows.

        Raises:
            UserError: the layer's output is not one tensor, or the images are of another dtype or device than the
                weights.
        """
        with fitting_images(images, self.root):
            features = (self._trunk if torch.is_grad_enabled() else self._trunk_in_place)(images)
        if not isinstance(features, Tensor):
            raise UserError(
                f"layer {self.layer!r} gives a {type(features).__name__}, not one tensor. Cut at another layer."
            )
        return features

    def head(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, K, h, w), which are left as they are."""
        return (self._head if torch.is_grad_enabled() else self._head_in_place)(features)

    def prefix(self, features: Tensor) -> tuple[Tensor, ...]:
        """The frontier: the values that the maximal affine beginning of the head hands to `rest`.

        Each is affine in the features, so that many small changes of the features are one matrix product away.
        """
        return self._prefix(features)

    def rest(self, frontier: Sequence[Tensor]) -> Tensor:
        """Logits (N, classes) of a frontier: `rest(prefix(features))` is `head(features)`."""
        return self._rest(*frontier)

    def affine_weight(self, features_shape: Sequence[int], chunk: int = 64) -> tuple[Tensor, Tensor]:
        """The head as `logits = (weight * features).sum((1, 2, 3)) + bias`, by vector-Jacobian products.

        Args:
            features_shape: shape of one image's features, (K, h, w).
            chunk: number of classes differentiated at a time.

        Returns:
            weight (classes, *features_shape) and bias (classes,), on the head's device and in its dtype.

        Raises:
            UserError: the head is not affine, or its output is not (N, classes).
        """
        if not self.affine:
            graph = self.network.graph
            breaks = (node.name for node in graph.nodes if node in self._rest_nodes and node.all_input_nodes)
            raise UserError(
                f"the head after layer {self.layer!r} is not affine: {next(breaks)!r} is not. "
                "Use prefix and rest, or cut at a later layer."
            )
        zeros = self._zeros(features_shape)
        with torch.inference_mode(False), torch.no_grad():
            bias = fx.Interpreter(self.root, graph=self.head_graph).run(zeros)
        if bias.ndim != 2:
            raise UserError(f"the network's output has shape {tuple(bias.shape)}; (N, classes) is needed.")
        return torch.cat(list(self.affine_rows(features_shape, chunk))), bias[0]

    def affine_rows(self, features_shape: Sequence[int], chunk: int = 64) -> Iterator[Tensor]:
        """The weight of `affine_weight`, `chunk` classes at a time: all of it may be larger than the network."""
        head = fx.Interpreter(self.root, graph=self.head_graph)  # generating code would cost more
        with torch.inference_mode(False):
            zeros = self._zeros(features_shape)
            with torch.no_grad():
                classes = torch.arange(head.run(zeros).shape[1], device=zeros.device)
            for part in classes.split(chunk):
                features = zeros.repeat(len(part), *[1] * len(features_shape)).requires_grad_()
                with torch.enable_grad():
                    logits = head.run(features).gather(1, part[:, None])
                # A head may ignore the features altogether; its weight is then zero.
                (rows,) = torch.autograd.grad(logits.sum(), features, allow_unused=True, materialize_grads=True)
                yield rows

    def _zeros(self, features_shape: Sequence[int]) -> Tensor:
        weight = first_weight(self.root)
        return (torch.zeros(()) if weight is None else weight).new_zeros(1, *features_shape)

    @functools.cached_property
    def trunk_graph(self) -> fx.Graph:
        """The trunk as pure operations on the modules of `root`, for an `fx.Interpreter` of one's own."""
        return extract([self.network.placeholder], self.cut)

    @functools.cached_property
    def head_graph(self) -> fx.Graph:
        """The head as pure operations on the modules of `root`, for an `fx.Interpreter` of one's own."""
        return extract([self.cut], self.network.output)

    @functools.cached_property
    def _trunk(self) -> fx.GraphModule:
        return fx.GraphModule(self.root, self.trunk_graph)

    @functools.cached_property
    def _head(self) -> fx.GraphModule:
        return fx.GraphModule(self.root, self.head_graph)

    @functools.cached_property
    def _trunk_in_place(self) -> fx.GraphModule:
        return self.network.subgraph([self.network.placeholder], self.cut, in_place=True)

    @functools.cached_property
    def _head_in_place(self) -> fx.GraphModule:
        return self.network.subgraph([self.cut], self.network.output, in_place=True)

    @functools.cached_property
    def _prefix(self) -> fx.GraphModule:
        return self.network.subgraph([self.cut], self._frontier)

    @functools.cached_property
    def _rest(self) -> fx.GraphModule:
        return self.network.subgraph(self._frontier, self.network.output)


def split_at(model: nn.Module, layer: str) -> Split:
    """Cut `model` at the output of `layer`, a qualified name as in `named_modules`.

    The model is left as it is: mode, hooks, gradients, weights and buffers.

    Raises:
        UserError: there is no such layer; it is called never or several times; its output is not one tensor; something
            after it depends on the image other than through it; the model is no network (see `check_model`); or
            `torch.fx` cannot trace it.
    """
    return Split(TracedNetwork(model), layer)


def split_at_each(model: nn.Module, layers: Iterable[str]) -> dict[str, Split]:
    """`split_at` at several layers, tracing the network once.

    Raises:
        UserError: as for `split_at`.
    """
    network = TracedNetwork(model)
    return {layer: Split(network, layer) for layer in layers}


def split_along(model: nn.Module, layers: Sequence[str]) -> tuple[Callable[[Tensor], tuple[Tensor, ...]], Split]:
    """The network cut at the last of `layers`, and a trunk that gives the features at all of them in one pass.

    Args:
        layers: at least one, in the order in which the network forms their outputs.

    Returns:
        The trunk, images (N, C, H, W) to a tuple of features, to be called without gradients; and the last cut.

    Raises:
        UserError: as for `split_at`, or the layers are in another order.
    """
    network = TracedNetwork(model)
    cuts = [network.cut(layer) for layer in layers]
    if sorted(set(cuts), key=network.order.__getitem__) != cuts:
        ordered = sorted(dict.fromkeys(layers), key=lambda layer: network.order[network.cut(layer)])
        raise UserError(f"the layers {', '.join(layers)} are not in the network's order, each once: {ordered}.")
    return network.subgraph([network.placeholder], cuts, in_place=True), Split(network, layers[-1])


def cuttable_layers(model: nn.Module) -> list[str]:
    """Names of the layers at which `split_at` can cut, in the order in which their outputs are formed.

    Raises:
        UserError: the model is no network (see `check_model`), or `torch.fx` cannot trace it.
    """
    return list(TracedNetwork(model).cuttable)
