"""The cell that most experiments on a trained network share: its accuracy and its feature maps over the test images."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from xcnn.data.tensors import TensorDataModule, scale
from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values
from xcnn.models.capture import capture
from xcnn.report.cells import Cell, Measured

CHUNK = 500  # images: about a second of work on a CPU, and what a kill can cost


def measure_feature_maps(
    cell: Cell, network: nn.Module, data: TensorDataModule, layers: Sequence[str], training: dict[str, Any]
) -> Measured:
    """Rows over all test images, and their means; see `xcnn.metrics.feature_maps` for the metrics."""

    def measure(images: range) -> pd.DataFrame:
        part = slice(images.start, images.stop)
        return feature_map_rows(network, layers, scale(data.test.images[part]), data.test.labels[part])

    rows = cell.rows(len(data.test), CHUNK, measure)
    with torch.inference_mode(), capture(network, layers) as maps:
        network(scale(data.test.images[:1]))
    filters = {layer: maps[layer].shape[1] for layer in layers}
    return measured(data, training, feature_map_values(rows, filters))


@torch.inference_mode()
def accuracy(network: nn.Module, data: TensorDataModule) -> float:
    """Share of the test images that the network, in eval mode, classifies rightly."""
    batches = data.test_dataloader()
    return sum(int((network(images).argmax(1) == labels).sum()) for images, labels in batches) / len(data.test)


def measured(
    data: TensorDataModule,
    training: dict[str, Any],
    values: dict[str, float],
    n: int | None = None,
    details: dict[str, Any] | None = None,
    files: Sequence[str] = (),
) -> Measured:
    """A `Measured` on the CPU in float32, with the provenance of the data and of the training filled in."""
    return Measured(
        values,
        len(data.test) if n is None else n,
        {"name": data.name, "manifest": data.manifest},
        weights=training["weights"],
        training=training,
        details=details or {},
        files=files,
    )
