"""The VGG-16s trained here: a head on features that are computed once, and weights kept as a file.

The file is where the models' own configurations look for it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xcnn.fingerprint import fingerprint
from xcnn.launch import Setup
from xcnn.models import save_weights
from xcnn.report.provenance import provenance
from xcnn.training import Classifier, FeatureData, fit


def trained_head(setup: Setup) -> tuple[nn.Module, nn.Module, FeatureData, dict[str, Any]]:
    """The network with its head trained, the head, the features that it was trained on, and the training's record."""
    options = setup.options
    torch.manual_seed(options.seed)
    network = setup.model().to(memory_format=torch.channels_last)
    data = setup.features(network, options.cam_layer)
    head = head_of(network)
    module = Classifier(head, setup.optimizer(), options.training.data_term, schedule=setup.schedule())
    made = {key: setup.settings[key] for key in ("model", "training", "data", "trainer", "preprocessing", "seed")}
    made |= {"features": data.manifest, "layer": options.cam_layer}
    folder = setup.runs / "trainings" / fingerprint(made)
    record = fit(
        module, data, folder, settings=made, provenance=provenance(),
        max_epochs=options.training.max_epochs, seed=options.seed, accelerator=options.trainer.accelerator,
        precision=options.trainer.precision, progress=options.trainer.progress, select=options.training.select,
    )  # fmt: skip
    return network.eval(), head.eval(), data, record


def head_of(network: nn.Module) -> nn.Sequential:
    """What follows a VGG's convolutions: features (N, K, h, w) to logits. Its weights are the network's own."""
    return nn.Sequential(network.get_submodule("avgpool"), nn.Flatten(), network.get_submodule("classifier"))


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
