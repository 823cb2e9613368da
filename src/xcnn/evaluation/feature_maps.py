"""The cell that most experiments on a trained network share: its accuracy and its feature maps over the test images."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from xcnn.data.tensors import scale
from xcnn.evaluation.subject import Subject
from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values
from xcnn.models.capture import capture
from xcnn.report.cells import Cell, Measured

CHUNK = 500  # images: about a second of work on a CPU, and what a kill can cost


def measure_feature_maps(
    cell: Cell,
    subject: Subject,
    layers: Sequence[str],
    thresholds: Sequence[float] = (),
    count_shares: Sequence[float] = (),
) -> Measured:
    """Rows over all test images, and their means; see `xcnn.metrics.feature_maps` for the metrics.

    Args:
        cell: the rows are left in its folder.
        subject: network and test images.
        layers: names of post-ReLU layers.
        thresholds, count_shares: further settings of the succinctness, as for `feature_map_rows`.
    """
    network, test = subject.network, subject.data.test

    def measure(places: range) -> pd.DataFrame:
        part = slice(places.start, places.stop)
        images, labels = scale(test.images[part]), test.labels[part]
        return feature_map_rows(network, layers, images, labels, thresholds=thresholds, count_shares=count_shares)

    rows = cell.rows(len(test), CHUNK, measure)
    with torch.inference_mode(), capture(network, layers) as maps:
        network(scale(test.images[:1]))
    filters = {layer: maps[layer].shape[1] for layer in layers}
    return subject.measured(feature_map_values(rows, filters))


def most_live(plain: Tensor, live: Tensor, top: int) -> list[int]:
    """Filters of the maps (K, h, w) that are live under the most losses, (losses, K) bool, then by their plain peak.

    Only filters that are live without the loss, which is the first of the losses.
    """
    peaks = plain.amax((1, 2))
    count = torch.where(live[0], live.sum(0), 0)
    order = sorted(range(len(peaks)), key=lambda k: (int(count[k]), float(peaks[k])), reverse=True)
    return [k for k in order if count[k]][:top]
