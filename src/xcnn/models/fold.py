"""Folding BatchNorm into the convolutions before it: the same function in evaluation mode, and faster."""

import copy
from functools import cached_property

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xcnn.errors import UserError
from xcnn.models.checks import check_model, first_weight
from xcnn.models.graph import TracedNetwork, evaluation_copy


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of the network, in eval mode, in which each BatchNorm that follows a convolution is folded into it.

    Layers keep their names: a folded BatchNorm is an identity there. Outputs differ by rounding.

    Raises:
        UserError: it is no network (see `check_model`), or cannot be taken apart (see `TracedNetwork`).
    """
    check_model(network)
    folded = copy.deepcopy(network).eval()
    _fold(folded, _foldable(folded))
    return folded


class Folded:
    """A network as it is run fastest, for methods that take many passes of it with the same weights.

    Args:
        network: in eval mode; its structure is looked at once, its weights at each call.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self) -> nn.Module:
        """The network with its BatchNorms folded; itself where none can be, or where half precision would round."""
        weight = first_weight(self.network)
        if weight is None or weight.dtype not in (torch.float32, torch.float64) or not self._places:
            return self.network
        folded = evaluation_copy(self.network)
        _fold(folded, self._places)
        return folded

    @cached_property
    def _places(self) -> list[tuple[str, str]]:
        try:
            return _foldable(self.network)
        except UserError:  # a network that cannot be traced is run as it is
            return []


def _fold(network: nn.Module, places: list[tuple[str, str]]) -> None:
    for before, after in places:
        conv, norm = network.get_submodule(before), network.get_submodule(after)
        network.set_submodule(before, fuse_conv_bn_eval(conv, norm))  # type: ignore[type-var, arg-type]
        network.set_submodule(after, nn.Identity())


def _foldable(network: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution and the BatchNorm that alone takes its output, both of which are called once."""
    traced = TracedNetwork(network)
    calls = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    places = []
    for node in traced.graph.nodes:
        norm, before = traced.module(node), node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or not isinstance(before, fx.Node):
            continue
        conv = traced.module(before)
        if (
            type(conv) is nn.Conv2d
            and not conv._forward_pre_hooks  # weight_norm and the like form the weights anew at each call
            and len(before.users) == 1
            and calls.count(node.target) == calls.count(before.target) == 1
        ):
            # In the trace the network is the module `model` of its root.
            places.append((str(before.target).removeprefix("model."), str(node.target).removeprefix("model.")))
    return places
