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
    _fold(folded, _foldable(TracedNetwork(folded)))
    return folded


class Folded:
    """A network as it is run fastest, for methods that take many passes of it with the same weights.

    Args:
        network: in eval mode; its structure is looked at once, its weights at each call.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self) -> tuple[nn.Module, nn.Module]:
        """`first` and `rest`: `rest(first(images))` is the network's output, by folded BatchNorms.

        `first` is the convolution that the images go through first, and an identity where there is none. It is affine,
        so that it is run once for all images on a line, and transposed once for a sum of gradients. `rest` is the
        network itself where there is nothing to fold or take apart, or where half precision would round.
        """
        weight = first_weight(self.network)
        if weight is None or weight.dtype not in (torch.float32, torch.float64) or not any(self._places):
            return nn.Identity(), self.network
        norms, alone = self._places
        folded = evaluation_copy(self.network)
        first: nn.Module = nn.Identity()
        _fold(folded, norms)
        for name in alone:
            first = folded.get_submodule(name)
            folded.set_submodule(name, nn.Identity())
        return first, folded

    @cached_property
    def _places(self) -> tuple[list[tuple[str, str]], list[str]]:
        """As of `_foldable`, and the name of the first convolution, in a list of one or none."""
        try:
            traced = TracedNetwork(self.network)
        except UserError:  # a network that cannot be traced is run as it is
            return [], []
        users = list(traced.placeholder.users)
        return _foldable(traced), [_name(node) for node in users if len(users) == 1 and _is_plain(traced, node)]


def _fold(network: nn.Module, places: list[tuple[str, str]]) -> None:
    for before, after in places:
        conv, norm = network.get_submodule(before), network.get_submodule(after)
        network.set_submodule(before, fuse_conv_bn_eval(conv, norm))  # type: ignore[type-var, arg-type]
        network.set_submodule(after, nn.Identity())


def _foldable(traced: TracedNetwork) -> list[tuple[str, str]]:
    """Names of each convolution and the BatchNorm that alone takes its output, both of which are called once."""
    places = []
    for node in traced.graph.nodes:
        norm, before = traced.module(node), node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or not isinstance(before, fx.Node):
            continue
        if _is_plain(traced, before) and len(before.users) == 1 and _calls(traced, node) == 1:
            places.append((_name(before), _name(node)))
    return places


def _is_plain(traced: TracedNetwork, node: fx.Node) -> bool:
    """Whether a node is the only call of a convolution whose weights are its own."""
    conv = traced.module(node)
    # weight_norm and the like form the weights anew at each call, by a hook.
    return type(conv) is nn.Conv2d and not conv._forward_pre_hooks and _calls(traced, node) == 1


def _calls(traced: TracedNetwork, node: fx.Node) -> int:
    """How often the module of a node is called."""
    return len(traced.graph.find_nodes(op="call_module", target=node.target))


def _name(node: fx.Node) -> str:
    """The name of a node's module in the network, which is the module `model` of the trace's root."""
    return str(node.target).removeprefix("model.")
