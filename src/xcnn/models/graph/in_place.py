"""In-place operations of a traced network, replaced by their out-of-place forms."""

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.modules import batchnorm, conv, dropout
from torch.utils._pytree import tree_iter, tree_map_only

from xcnn.errors import UserError
from xcnn.models.graph.subgraph import IN_PLACE, InPlaceForm, names, operation, size_nodes

__all__ = ["INPLACE_OPERATORS", "OpaqueModule", "functionalise"]

# On tensors these change their left side; on `fx.Proxy` they would silently do the out-of-place operation.
INPLACE_OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
}


class OpaqueModule(nn.Module):
    """A module that is run whole, on copies of its arguments, because it is unknown whether it changes them.

    Args:
        module: the module.
        reason: message of `torch.fx` on why it could not be traced.
    """

    def __init__(self, module: nn.Module, reason: str) -> None:
        super().__init__()
        self.module = module
        self.reason = reason

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map_only(Tensor, Tensor.clone, (args, kwargs))
        versions = [(tensor, tensor._version) for tensor in tree_iter((args, kwargs)) if isinstance(tensor, Tensor)]
        result = self.module(*args, **kwargs)
        if any(tensor._version != version for tensor, version in versions):
            raise UserError(
                f"{type(self.module).__name__} changes its input in place, and torch.fx cannot trace it "
                f"({self.reason}). Make it work out of place, or traceable."
            )
        return result


# Operations whose result may share memory with an operand.
_VIEWS = names(
    "adjoint as_strided detach diagonal expand expand_as broadcast_to movedim moveaxis narrow permute select "
    "squeeze transpose t swapaxes swapdims real imag view_as_real view_as_complex unflatten unfold unsqueeze view "
    "view_as unbind split hsplit vsplit dsplit tensor_split split_with_sizes chunk reshape reshape_as flatten "
    "ravel contiguous to type float double half bfloat16 cpu cuda positive getitem getattr dropout dropout1d "
    "dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu native_dropout atleast_2d atleast_3d"
)
_VIEW_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten, dropout._DropoutNd, OpaqueModule)
# Operations whose result never shares memory with an operand.
_NEW_MODULES = (conv._ConvNd, batchnorm._BatchNorm, nn.Linear)
_NEW = names("conv1d conv2d conv3d batch_norm linear")


def functionalise(graph: fx.Graph, root: nn.Module, order: dict[Node, int]) -> dict[Node, Node]:
    """Replace each in-place operation by its out-of-place form, whose result all that follows takes.

    The in-place form is kept in the node's meta as an `InPlaceForm` where the memory that it overwrites is certainly a
    result of the network's own.

    Args:
        graph: the traced network, changed in place.
        root: module that the graph's targets refer to; its modules are set out of place, copies of those that were in
            place are added to it.
        order: position of each node in the forward pass.

    Returns:
        The node that took each overwritten node's place.

    Raises:
        UserError: a tensor is changed in place while a view of it is still in use, or there is no out-of-place form.
    """
    replaced: dict[Node, Node] = {}
    sharing: dict[Node, set[Node]] = {}  # the nodes whose values share memory
    own: set[Node] = set()  # nodes whose memory is new, and views
    sizes = size_nodes(graph)
    modules = {node: root.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"}
    in_place: dict[nn.Module, str] = {}
    for module in dict.fromkeys(modules.values()):
        if getattr(module, "inplace", False) and not isinstance(module, OpaqueModule):
            in_place[module] = name = f"in_place_{len(in_place)}"
            root.add_module(name, copy.copy(module))
            module.inplace = False  # type: ignore[assignment]
    for node in graph.nodes:
        if node in sizes:
            sharing[node] = {node}
            if node.op == "call_function" and node.target in INPLACE_OPERATORS:
                node.target = INPLACE_OPERATORS[node.target]  # `n += 1` on a number makes a new one
            continue
        found = modules.get(node)
        form = in_place.get(found, node.target) if found is not None else node.target
        flag = {"inplace": True} if node.kwargs.get("inplace") else {}
        changes = found in in_place or (found is None and _make_pure(node))
        views = isinstance(found, _VIEW_MODULES) or (found is None and operation(node) in _VIEWS)
        sharing[node] = {node}
        if views:
            sharing[node].update(*(sharing[operand] for operand in node.all_input_nodes if operand not in sizes))
            for other in sharing[node]:
                sharing[other] = sharing[node]
        if views or changes or isinstance(found, _NEW_MODULES) or (found is None and operation(node) in _NEW):
            own.add(node)
        if not changes:
            continue
        changed = node.args[0] if node.args else node.kwargs["input"]
        assert isinstance(changed, Node)
        for other in sharing[changed] - {changed, node}:
            if any(order[user] > order[node] for user in other.users):
                raise UserError(
                    f"the network changes a tensor in place ({node.name}) while a view of it ({other.name}) is still "
                    "in use, which cannot be followed. Write that operation out of place."
                )
        if not views and own >= sharing[changed]:
            node.meta[IN_PLACE] = InPlaceForm(form, flag, frozenset(sharing[changed]))
        replaced[changed] = node
        for user in list(changed.users):
            if order[user] > order[node]:
                user.replace_input_with(changed, node)
    return replaced


def _make_pure(node: Node) -> bool:
    """Turn an in-place function or method into its out-of-place form; whether it was one."""
    if node.op == "call_function" and node.target in INPLACE_OPERATORS:
        node.target = INPLACE_OPERATORS[node.target]
        return True
    if node.kwargs.get("inplace"):
        node.kwargs = node.kwargs | {"inplace": False}
        return True
    name = operation(node)
    if name is None or not name.endswith("_") or name.endswith("__") or name in ("and_", "or_", "not_", "is_"):
        return False
    pure = name[:-1]
    places = (torch.Tensor,) if node.op == "call_method" else (torch, F)
    target = next((found for place in places if callable(found := getattr(place, pure, None))), None)
    if target is None:
        raise UserError(f"the network uses {name!r}, which has no out-of-place form. Replace it.")
    node.target = pure if node.op == "call_method" else target
    return True
