"""Folding BatchNorm into the convolutions before it: the same function in evaluation mode, and faster."""

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xcnn.errors import UserError
from xcnn.models.checks import check_model


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of the network, in eval mode, in which each BatchNorm that follows a convolution is folded into it.

    Layers keep their names: a folded BatchNorm is an identity there. Outputs differ by rounding.

    Raises:
        UserError: it is no network (see `check_model`), or `torch.fx` cannot trace it.
    """
    check_model(network)
    folded = copy.deepcopy(network).eval()
    try:
        graph = fx.Tracer().trace(folded)
    except Exception as error:  # whatever a forward does with a proxy may raise anything
        raise UserError(f"{type(network).__name__} cannot be traced by torch.fx: {error}") from error
    modules = dict(folded.named_modules())
    calls = [node.target for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        norm, conv = modules[str(node.target)], modules[str(before.target)]
        called_once = calls.count(node.target) == calls.count(before.target) == 1
        if (
            isinstance(norm, nn.BatchNorm2d)
            and type(conv) is nn.Conv2d
            and norm.running_mean is not None
            and called_once
        ):
            folded.set_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
            folded.set_submodule(str(node.target), nn.Identity())
    return folded
