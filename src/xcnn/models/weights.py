"""Weights from `.safetensors` files: nothing is unpickled, and nothing is silently missing."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from xcnn.errors import Missing, UserError
from xcnn.files import atomic

COUNTER = "num_batches_tracked"  # of BatchNorm; only training with momentum None reads it, so a file may lack it
SHOWN = 3  # number of tensors that do not fit named in a message


def load_weights(
    network: nn.Module, path: str | Path, remedy: str = "Train the network again, or name another file."
) -> None:
    """Put the tensors of a `.safetensors` file into the network, in its dtype and device: all of them, no others.

    Args:
        remedy: advice in the message when there is no such file.

    Raises:
        Missing: there is no such file.
        UserError: the file is damaged, or its tensors are not this network's (named, with their shapes).
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise Missing(f"no weights at {path}. {remedy}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}). Delete it and run the same command again.") from error
    own = network.state_dict()
    wrong = [
        f"{name} is {_shape(tensors.get(name))} in the file and {_shape(own.get(name))} in the network"
        for name in sorted(own.keys() | tensors.keys())
        if _shape(own.get(name)) != _shape(tensors.get(name)) and not (name not in tensors and name.endswith(COUNTER))
    ]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(f"{path} holds the weights of another network: {'; '.join(wrong[:SHOWN])}{more}.")
    network.load_state_dict(tensors, strict=False)


def save_weights(network: nn.Module, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write the network's parameters and buffers to a `.safetensors` file, atomically.

    Args:
        dtype: type of matrices and kernels in the file, e.g. `torch.float16` for half the size; None keeps theirs.
            Vectors (biases, BatchNorm's statistics) keep their own: they are small, and variances may leave float16's
            range.
    """
    state = {
        name: (tensor if dtype is None or tensor.ndim < 2 else tensor.to(dtype)).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic(path, "wb") as stream:
        stream.write(save(state))


def weights_hash(network: nn.Module) -> str:
    """Identity of the weights: the first 16 hexadecimal digits of SHA-256 over names and values, on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else " x ".join(map(str, tensor.shape)) or "a number"
