"""The device that a network runs on, as records name it, and the precision of its arithmetic."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from xcnn.errors import UserError

T = TypeVar("T")
FLOAT32, BF16 = "32-true", "bf16-mixed"  # Lightning's names
BF16_FLAGS = ("avx512_bf16", "amx_bf16")  # processor features with which bfloat16 products are faster than float32's


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def device_of(accelerator: str) -> torch.device:
    """The device that an accelerator's name means: "cpu", "gpu", or "auto" for a GPU where there is one.

    Raises:
        UserError: an unknown name, or "gpu" where PyTorch sees none.
    """
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise UserError(f"unknown accelerator {accelerator!r}; there are: auto, cpu, gpu.")
    gpu = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not gpu:
        raise UserError(
            f"accelerator={accelerator}, but PyTorch {torch.__version__} sees no GPU here. Choose trainer=cpu, or "
            "install the GPU's driver and PyTorch for it."
        )
    return torch.device("cuda" if gpu and accelerator != "cpu" else "cpu")


def training_precision(accelerator: str, asked: str = "auto") -> str:
    """The precision that a training runs in, by Lightning's name: `asked`, or for "auto" the faster of the two.

    A step of a small convolutional network under autocast to bfloat16 ("bf16-mixed") takes about 0.6 times as long as
    in float32 ("32-true") on a processor with bfloat16 products (AVX-512 BF16, AMX), 2 times as long with AVX-512
    alone, and 8 to 14 times as long with AVX2. GPUs have them from NVIDIA's Ampere on.

    Args:
        accelerator: "auto", "cpu" or "gpu".
        asked: "auto", "32-true" or "bf16-mixed".

    Raises:
        UserError: an unknown precision or accelerator, or a GPU where there is none.
    """
    if asked not in ("auto", FLOAT32, BF16):
        raise UserError(f"unknown precision {asked!r}; there are: auto, {FLOAT32}, {BF16}.")
    device = device_of(accelerator)
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return BF16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    processor = torch.cpu.get_capabilities()
    return BF16 if any(processor.get(flag) for flag in BF16_FLAGS) else FLOAT32


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


def in_chunks(count: int, size: int, function: Callable[[slice], T]) -> list[T]:
    """What a function gives of each slice of `count` items, `size` at a time; halved where a GPU's memory runs out."""
    found, start = list[T](), 0
    while start < count:
        try:
            found.append(function(slice(start, min(start + size, count))))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        else:
            start += size
            continue
        size = (size + 1) // 2  # out here: the error held what the failed pass had kept
        torch.cuda.empty_cache()
    return found
