"""The maximal affine beginning of a part of a traced network."""

import torch.nn.functional as F
from torch import fx, nn
from torch.fx import Node
from torch.nn.modules import batchnorm, conv, dropout, padding, pooling

from xcnn.models.graph.subgraph import names, operation, size_nodes

__all__ = ["affine_nodes", "is_affine"]

_AFFINE_MODULES = (
    *(conv._ConvNd, nn.Linear, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd, nn.Flatten, nn.Unflatten, nn.Identity),
    *(dropout._DropoutNd, padding._ConstantPadNd, padding._ReflectionPadNd, padding._ReplicationPadNd),
    *(padding._CircularPadNd, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.PixelShuffle, nn.PixelUnshuffle),
)
# Affine in the first operand when all others are constant.
_AFFINE_FIRST = names(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear avg_pool1d avg_pool2d "
    "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d flatten reshape view permute transpose "
    "t squeeze unsqueeze movedim mean sum neg getitem narrow contiguous clone expand chunk split unbind flip roll "
    "pad div truediv true_divide pixel_shuffle pixel_unshuffle"
)
_AFFINE_ALL = names("add sub subtract cat concat concatenate stack")  # in all operands together
_BILINEAR = names("mul multiply matmul mm bmm")  # affine in one operand when the other is constant
_DROPOUTS = names("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout")


def affine_nodes(graph: fx.Graph, head: set[Node], cut: Node, root: nn.Module) -> set[Node]:
    """The nodes of `head` whose values are affine in the value of `cut`, and `cut` itself.

    Args:
        graph: the traced network.
        head: nodes that lie between the cut and the logits.
        cut: node of the features.
        root: module that the graph's targets refer to.
    """
    affine, varying, sizes = {cut}, {cut}, size_nodes(graph)
    for node in graph.nodes:
        if node not in head or node in sizes or not varying.intersection(node.all_input_nodes):
            continue
        varying.add(node)
        operands: list[Node] = []
        fx.map_arg((node.args, node.kwargs), operands.append)
        operands = [operand for operand in operands if operand in varying]
        if affine.issuperset(operands) and is_affine(node, operands, root):
            affine.add(node)
    return affine


def is_affine(node: Node, operands: list[Node], root: nn.Module) -> bool:
    """Whether a node's operation is affine in its varying operands, listed as often as they occur."""
    first = node.args[0] if node.args else node.kwargs.get("input")
    alone = operands == [first]
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        if isinstance(module, batchnorm._BatchNorm):
            return alone and module.running_mean is not None
        return alone and isinstance(module, _AFFINE_MODULES)
    name = operation(node)
    if name in _AFFINE_ALL:
        return True
    if name in _BILINEAR:
        return len(operands) == 1
    if node.target is F.batch_norm:
        mean = node.args[1] if len(node.args) > 1 else node.kwargs.get("running_mean")
        return alone and mean is not None and node.kwargs.get("training") is False
    if name in _DROPOUTS:
        return alone and node.kwargs.get("training") is False
    return name in _AFFINE_FIRST and alone and not node.kwargs.get("rounding_mode")
