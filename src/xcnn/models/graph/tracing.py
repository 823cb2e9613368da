"""A network as a graph of pure operations, traced by `torch.fx` in evaluation mode.

The trace is of a copy of the module structure that shares the very same parameters and buffers; the user's modules are
never called and never changed. Two resolutions:

- Every in-place operation is replaced by its out-of-place form, and what used the old value afterwards is given the new
  one. So the value of a layer's node is its true output, and nothing that runs later changes it.
- The user's hooks do not run, whether they watch or change values: a network is its modules. The hooks by which
  `weight_norm`, `spectral_norm` and `prune` form a weight are part of the module and are kept.

A submodule that `torch.fx` cannot follow is one node, run whole; the layers within it have none.
"""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from xcnn.errors import UserError, nearest_first
from xcnn.models.checks import check_model
from xcnn.models.graph.in_place import INPLACE_OPERATORS, OpaqueModule, functionalise
from xcnn.models.graph.subgraph import dominators, extract, needed_nodes

__all__ = ["TracedNetwork", "evaluation_copy"]


class TracedNetwork:
    """The graph of a network's operations, from the images to the logits, and the place of each layer in it.

    The modules that its nodes call are those of `root`, in evaluation mode, with the user's parameters and buffers. To
    run a part of it, `subgraph(inputs, outputs)` is a module; to walk it, `graph.nodes` is in forward order and
    `reversed(graph.nodes)` in backward order, `module(node)` is the module of a node and `graph.operation(node)` the
    name of its function.

    Args:
        model: images (N, C, H, W) to logits (N, classes).

    Attributes:
        root: module that the graph's targets refer to.
        graph: the operations, all out of place.
        placeholder: node of the images.
        output: node of the logits.
        order: position of each node in the forward pass.
        layers: every layer of the copy by qualified name; a shared one has several names.
        outputs: nodes of each layer's outputs by the layer's first name, one per call in the order of calls, None where
            an output is not one tensor; a layer that is never called, or only inside an opaque one, is absent.
        cuttable: node of the output of each layer through which all paths from images to logits pass, in the order in
            which the outputs are formed.

    Raises:
        UserError: the model is no network (see `check_model`), `torch.fx` cannot trace it, it has an in-place operation
            that cannot be replaced, or it gives several values.
    """

    def __init__(self, model: nn.Module) -> None:
        check_model(model)
        copied = evaluation_copy(model)
        self.root: nn.Module = _Root(copied).eval()
        with _tracing:
            tracer = _Tracer()
            try:
                self.graph = tracer.trace(self.root)
            except Exception as error:
                raise UserError(
                    f"{type(model).__name__} cannot be taken apart, because torch.fx cannot trace it: {error} "
                    "Move what depends on the values of a tensor into a submodule of its own, which is then run whole."
                ) from error
        self.root.eval()
        self.layers = {name: module for name, module in copied.named_modules(remove_duplicate=False) if name}
        self._first_names = {module: name for name, module in copied.named_modules()}
        self._opaque = {self._first_names[module]: reason for module, reason in tracer.opaque.items()}
        order = {node: index for index, node in enumerate(self.graph.nodes)}
        replaced = functionalise(self.graph, self.root, order)
        self.outputs: dict[str, list[Node | None]] = {}
        for module, value, last in tracer.returned:
            node = value.node if isinstance(value, fx.Proxy) else None
            while node in replaced and order[replaced[node]] <= order[last]:
                node = replaced[node]
            if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
                node = None
            self.outputs.setdefault(self._first_names[module], []).append(node)
        output = self.graph.output_node().args[0]
        if not isinstance(output, Node):
            raise UserError(f"{type(model).__name__} gives several values in evaluation mode; logits alone are needed.")
        self.output = output
        self.placeholder: Node = next(iter(self.graph.nodes))
        self.order = {node: index for index, node in enumerate(self.graph.nodes)}
        cuts = dominators(self.graph)
        self.cuttable: dict[str, Node] = {
            layer: node
            for layer, nodes in self.outputs.items()
            if len(nodes) == 1 and (node := nodes[0]) is not None and node in cuts and layer
        }

    def module(self, node: Node) -> nn.Module | None:
        """The module that a node calls; None for functions, methods, parameters, images and logits."""
        return self.root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def layer(self, node: Node) -> str | None:
        """Name of the innermost layer whose output a node is, if there is one."""
        return next((layer for layer, nodes in self.outputs.items() if layer and node in nodes), None)

    def subgraph(
        self, inputs: Sequence[Node], outputs: Node | Sequence[Node], in_place: bool = False
    ) -> fx.GraphModule:
        """The function from the values of `inputs` to those of `outputs`: `subgraph.extract` as a module."""
        return fx.GraphModule(self.root, extract(inputs, outputs, in_place))

    def cut(self, layer: str) -> Node:
        """The node of a layer's output, if all paths from images to logits pass through it.

        Raises:
            UserError: there is no such layer, or its output does not cut the network; names the nearest that do.
        """
        if layer not in self.layers:
            names = ", ".join(nearest_first(layer, self.cuttable))
            raise UserError(f"there is no layer {layer!r}. Layers that can be cut: {names}")
        nodes = self.outputs.get(self._first_names[self.layers[layer]], [])
        if not nodes:
            whole = next((name for name in self.layers if layer.startswith(f"{name}.") and self._is_whole(name)), None)
            if whole is None:
                raise UserError(f"layer {layer!r} is never called in evaluation mode. {self._instead()}")
            reason = self._opaque.get(self._first_names[self.layers[whole]])
            why = f", because torch.fx cannot trace it ({reason})" if reason is not None else ""
            raise UserError(f"layer {layer!r} is inside {whole!r}, which is run whole{why}. {self._instead()}")
        node = nodes[-1]
        if len(nodes) > 1:
            raise UserError(f"layer {layer!r} is called {len(nodes)} times. {self._instead(node)}")
        if node is None:
            raise UserError(f"layer {layer!r} does not give one tensor. {self._instead()}")
        if node not in self.cuttable.values():
            raise UserError(
                f"the output of layer {layer!r} does not cut the network: what follows also depends on "
                f"{self._around(node)}, formed without it. {self._instead(node)}"
            )
        return node

    def _is_whole(self, layer: str) -> bool:
        """Whether a layer is one node: called, with no layer inside it that has a node."""
        first = self._first_names[self.layers[layer]]
        if first not in self.outputs:
            return False
        inner = (module for name, module in self.layers.items() if name.startswith(f"{layer}."))
        return first in self._opaque or not any(self._first_names[module] in self.outputs for module in inner)

    def _around(self, node: Node) -> str:
        """A value that leads from the images to the logits past `node`."""
        after = needed_nodes([node], [self.output])
        reached, behind = set[Node](), {node}
        for other in self.graph.nodes:
            if other is self.placeholder or reached & set(other.all_input_nodes):
                reached.add(other)
            if behind & set(other.all_input_nodes):
                behind.add(other)
        bypass = [n for n in after if n in reached and n not in behind]
        last = max(bypass, key=self.order.__getitem__)
        return "the images themselves" if last is self.placeholder else repr(self.layer(last) or last.name)

    def _instead(self, node: Node | None = None) -> str:
        if node is None:
            return f"Layers that can be cut: {', '.join(self.cuttable) or 'none'}."
        at = self.order[node]
        before = [name for name, other in self.cuttable.items() if self.order[other] <= at]
        after = [name for name, other in self.cuttable.items() if self.order[other] > at]
        nearest = [repr(name) for name in before[-1:] + after[:1]]
        return f"Nearest layers that can be cut: {', '.join(nearest) or 'none'}."


_REPARAMETRISATIONS = (WeightNorm, SpectralNorm, BasePruningMethod)


def evaluation_copy(model: nn.Module) -> nn.Module:
    """A copy of the module structure in evaluation mode, with the same tensors and without the user's hooks."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        tensors = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
        memo |= {id(tensor): tensor for tensor in tensors if isinstance(tensor, Tensor)}
        for name, hooks in vars(module).items():
            if "_hooks" in name and isinstance(hooks, dict):
                kept = ((key, hook) for key, hook in hooks.items() if isinstance(hook, _REPARAMETRISATIONS))
                memo[id(hooks)] = OrderedDict(kept)
    return copy.deepcopy(model, memo).eval()


class _Root(nn.Module):
    """Calls the model with images alone, so that its optional arguments keep their defaults in the trace."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


class _Proxy(fx.Proxy):
    """A proxy that records `x += y` as the in-place operation that it is."""


def _record(inplace: Callable[..., Any]) -> Callable[[fx.Proxy, Any], Any]:
    return lambda self, other: self.tracer.create_proxy("call_function", inplace, (self, other), {})


for _inplace in INPLACE_OPERATORS:
    setattr(_Proxy, f"__{_inplace.__name__}__", _record(_inplace))


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # a computation on a buffer is to see its later values

    def __init__(self) -> None:
        super().__init__(param_shapes_constant=True)
        self.returned: list[tuple[nn.Module, Any, Node]] = []  # module, value, last node recorded when it returned
        self.opaque: dict[nn.Module, str] = {}
        self._thread = threading.get_ident()
        self._attributes: dict[str, fx.Proxy] = {}

    def proxy(self, node: Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        kind = type_before_parametrizations(m)
        return kind.__module__.startswith("torch.nn.") and not issubclass(kind, nn.Sequential)

    # fx patches nn.Module for the whole process while it traces; other threads must get the ordinary behaviour.
    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        self._attributes = parameter_proxy_cache
        # Shapes of buffers are not constant for fx, which gives them a parameter's proxy all the same and then fails.
        self.param_shapes_constant = isinstance(attr_val, nn.Parameter)
        try:
            return super().getattr(attr, attr_val, parameter_proxy_cache)
        finally:
            self.param_shapes_constant = True

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        mark, returned, depth = self._last(), len(self.returned), len(self.module_stack)
        try:
            value = super().call_module(m, forward, args, kwargs)
        except Exception as error:  # whatever a module does with a proxy may raise anything; it is then run whole
            if isinstance(self.root, _Root) and m is self.root.model:
                raise
            while self._last() is not mark:
                self.graph.erase_node(self._last())
            for name in [name for name, proxy in self._attributes.items() if proxy.node._erased]:
                del self._attributes[name]
            del self.returned[returned:]
            while len(self.module_stack) > depth:
                self.module_stack.popitem()
            self.opaque[m] = reason = " ".join(str(error).split())
            name = f"opaque_{len(self.opaque)}"
            self.root.add_module(name, OpaqueModule(m, reason))
            value = self.create_proxy("call_module", name, args, kwargs)
        self.returned.append((m, value, self._last()))
        return value

    def _last(self) -> Node:
        return next(iter(reversed(self.graph.nodes)))


_tracing = threading.Lock()
