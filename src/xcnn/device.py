"""The device that a network runs on, as records name it, and its precision."""

import torch
from torch import Tensor

BF16 = "bf16-mixed"  # Lightning's name


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to bfloat16 for the precision "bf16-mixed"; for others none."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16)


def wide(values: Tensor) -> Tensor:
    """In float32 at least: float64 stays, half precisions do not."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
