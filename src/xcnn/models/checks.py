"""Refusals of what is no network that can be explained, and of images that do not fit its weights."""

import contextlib
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from xcnn.errors import UserError

__all__ = ["check_model", "first_weight", "fitting_images"]


def check_model(model: object) -> None:
    """Refuse what is not a network with weights at hand.

    Raises:
        UserError: the model is None, a class, a function or another object that is no module; it is, or holds, a module
            wrapped by `DataParallel` or `torch.compile`; or its weights are on the meta device.
    """
    if isinstance(model, type):
        raise UserError(f"the model is the class {model.__name__}; pass an instance of it: {model.__name__}(...).")
    if not isinstance(model, nn.Module):
        if callable(model):
            name = getattr(model, "__name__", type(model).__name__)
            raise UserError(
                f"the model is the function {name}; pass a torch.nn.Module: what {name}() returns if it builds a "
                "network, or a module whose forward calls it."
            )
        raise UserError(f"the model is {model!r:.80}; pass a torch.nn.Module that takes images to logits.")
    for name, module in model.named_modules():
        which, place = (f"layer {name!r}", f"model.{name}") if name else ("the model", "model")
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise UserError(f"{which} is wrapped in {type(module).__name__}; pass the module inside: {place}.module.")
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            raise UserError(f"{which} is compiled by torch.compile; pass the module inside: {place}._orig_mod.")
    if any(tensor.is_meta for tensor in chain(model.parameters(), model.buffers())):
        raise UserError(
            f"the weights of {type(model).__name__} are on the meta device, without values; "
            "call model.to_empty(device=...) and load weights first."
        )


def first_weight(network: nn.Module) -> Tensor | None:
    """The first floating-point parameter or buffer, whose device and dtype stand for the network's."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.detach() for tensor in tensors if tensor.is_floating_point()), None)


@contextlib.contextmanager
def fitting_images(images: Tensor, network: nn.Module) -> Iterator[None]:
    """Around a forward pass: an error of images whose device or dtype is not the weights' says so and how to mend it.

    Raises:
        UserError: the pass fails, and device or dtype (outside of autocast) differ.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        weight = first_weight(network)
        if weight is None:
            raise
        cast = torch.is_autocast_enabled(images.device.type)
        if images.device == weight.device and (cast or images.dtype == weight.dtype):
            raise
        raise UserError(
            f"the images are {images.dtype} on {images.device} and the weights {weight.dtype} on {weight.device}; pass "
            f"images.to({str(weight.device)!r}, {weight.dtype}), or move the network: "
            f"model.to({str(images.device)!r}, {images.dtype})."
        ) from error
