"""Quantiles of area and dispersion over the live feature maps of a trained 3-conv network on CIFAR-10.

    python benchmarks/feature_map_quantiles.py runs/trainings/<fingerprint>/network.safetensors

The floors of `conf/penalty/floored_decile.yaml` follow from those of the plain network (`penalty=none`). Maps are of
training images, since the penalty sees no others; "all layers" weighs the three layers equally, as the penalty does.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xcnn.data import CIFAR10
from xcnn.data.tensors import scale
from xcnn.models import capture, conv3, load_weights
from xcnn.training.concise import concise_terms

LAYERS = ("relu1", "relu2", "relu3")
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75)


@torch.inference_mode()
def live_terms(network: torch.nn.Module, images: Tensor) -> dict[str, dict[str, np.ndarray]]:
    """Area and dispersion of every live map of each layer, by term and layer, for images (N, C, H, W) in [0, 1]."""
    found: dict[str, dict[str, list[Tensor]]] = {
        term: {layer: [] for layer in LAYERS} for term in ("area", "dispersion")
    }
    for batch in images.split(250):
        with capture(network, LAYERS) as maps:
            network(batch)
        for layer in LAYERS:
            area, dispersion = concise_terms(maps[layer])
            found["area"][layer].append(area[area > 0])
            found["dispersion"][layer].append(dispersion[area > 0])
    return {
        term: {layer: torch.cat(values).numpy() for layer, values in layers.items()} for term, layers in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="weights of the network, a .safetensors file")
    parser.add_argument("--images", type=int, default=1000, help="number of training images (default: %(default)s)")
    options = parser.parse_args()
    network = conv3(10).eval()
    load_weights(network, options.weights)
    data = CIFAR10(root=os.environ.get("XCNN_DATA", "data"), train_size=options.images)
    data.setup()
    print(f"{'':24}{'mean':>8}" + "".join(f"{level:8.0%}" for level in LEVELS))
    for term, layers in live_terms(network, scale(data.train.images)).items():
        weights = np.concatenate([np.full(len(values), 1 / len(values)) for values in layers.values()])
        pooled = np.concatenate(list(layers.values()))
        layers = {**layers, "all layers": pooled}
        for layer, values in layers.items():
            weighting = weights if layer == "all layers" else np.ones(len(values))
            numbers = np.quantile(values, LEVELS, weights=weighting, method="inverted_cdf")
            mean = np.average(values, weights=weighting)
            print(f"{term + ', ' + layer:24}{mean:8.3f}" + "".join(f"{number:8.3f}" for number in numbers))


if __name__ == "__main__":
    main()
