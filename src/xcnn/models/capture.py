"""Outputs of layers, recorded by hooks while a network runs in its own mode, as in training."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from xcnn.errors import UserError, nearest_first

__all__ = ["capture"]


@contextlib.contextmanager
def capture(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that each forward pass of `model` fills with the outputs of `layers`, in forward order.

    Outputs are kept as they are: with their graph, dtype (bfloat16 under autocast) and memory, so that an in-place
    operation right after a layer is seen in them. A second pass replaces the first's; of a layer called several times
    in a pass the last output is kept. The hooks are removed on any exit.

    Raises:
        UserError: there is no such layer.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    for layer in layers:
        if layer not in modules:
            names = ", ".join(nearest_first(layer, filter(None, modules)))
            raise UserError(f"there is no layer {layer!r}. Layers: {names}")
    outputs: dict[str, Tensor] = {}

    def keep(layer: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            outputs.pop(layer, None)  # so that the order is this pass's
            outputs[layer] = output

        return hook

    with contextlib.ExitStack() as hooks:
        for layer in dict.fromkeys(layers):
            hooks.callback(modules[layer].register_forward_hook(keep(layer)).remove)
        yield outputs
