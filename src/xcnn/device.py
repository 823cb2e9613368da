"""The device that a network runs on, as records name it, and the precision of its arithmetic."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

BF16 = "bf16-mixed"  # Lightning's name


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to bfloat16 for the precision "bf16-mixed"; none for others."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16)


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """A context without gradients, and without the caller's autocast or inference mode."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32, or in their own type if it is wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
