"""The weights of the VGG-16s trained here, kept as a file where the models' own configurations look for them."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from xcnn.launch import Setup
from xcnn.models import save_weights


def weights_file(setup: Setup) -> Path:
    """Where `conf/model/<network>.yaml` looks for what the experiment trains."""
    return Path(setup.options.paths.data) / "weights" / f"{setup.options.network}.safetensors"


def save_network(network: nn.Module, path: Path, origin: str) -> None:
    """The network's weights in float16, and beside them where they come from."""
    save_weights(network, path, torch.float16)
    target = f"make weights-{path.stem.replace('_', '-')}"
    path.with_suffix(".txt").write_text(f"{origin} ({target})\n", encoding="utf-8")


def restore(setup: Setup, network: Callable[[], nn.Module], origin: str) -> None:
    """The file of weights again, should it have been deleted since the cell was measured."""
    if not weights_file(setup).is_file():
        save_network(network(), weights_file(setup), origin)
