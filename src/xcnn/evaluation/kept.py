"""What several cells of an experiment need of the same images, such as attacks: made once, in files for all of them."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from xcnn.evaluation.subject import Subject
from xcnn.files import atomic
from xcnn.fingerprint import fingerprint
from xcnn.models import weights_hash


def digest(inputs: Tensor) -> str:
    """16 hexadecimal digits of SHA-256 of a tensor's values, whatever its memory format."""
    return hashlib.sha256(inputs.contiguous().cpu().numpy().tobytes()).hexdigest()[:16]


def kept(
    folder: Path,
    settings: Mapping[str, Any],
    subject: Subject,
    inputs: Tensor,
    make: Callable[[], Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """What `make` makes of a batch, or made of it before: tensors by name, on the device of the inputs.

    Args:
        folder: of the files, one for each batch.
        settings: plain values that change what is made, besides the network, its precision and the inputs.
        inputs: the network's inputs, (N, C, H, W): told apart by their bytes, whatever list they are of.
    """
    key = {
        **settings,
        "weights": subject.weights or weights_hash(subject.network),
        "precision": subject.precision,
        "inputs": digest(inputs),
    }
    path = folder / f"{fingerprint(key)}.safetensors"
    if path.is_file():
        return load_file(path, str(inputs.device))
    made = {name: each.contiguous() for name, each in make().items()}
    with atomic(path, "wb") as stream:
        stream.write(save({name: each.cpu() for name, each in made.items()}))
    return made
