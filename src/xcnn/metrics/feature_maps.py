"""How legible a network's feature maps are: a row per image, from which every mean of DeConvolve's tables follows.

Area, dispersion and succinctness are undefined for a dead map; here they are means over an image's live maps, so that
killing filters changes none of them by itself. `area_all` and `dispersion_all` are means over all maps, a dead one
counting 0: the quantities that eq. 1 penalises, which dying lowers. Dead filters are reported beside them: `silent` is
the share of an image's maps that are zero everywhere, and a filter whose every map is, over all images, is dead.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from xcnn.data.tensors import scale
from xcnn.filters.succinctness import succinctness_grid, succinctness_per_image
from xcnn.models.capture import capture
from xcnn.training.concise import concise_terms


@torch.inference_mode()
def feature_map_rows(
    network: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    labels: Tensor,
    threshold: float = 0.1,
    thresholds: Sequence[float] = (),
    count_shares: Sequence[float] = (),
) -> pd.DataFrame:
    """One row per image.

    Args:
        network: images to logits, in eval mode.
        layers: names of its post-ReLU layers.
        images: (N, C, H, W).
        labels: (N,).
        threshold: t of the masks.
        thresholds: further values of t for the succinctness.
        count_shares: values of its other setting, for each of `thresholds`; see `succinctness_grid`.

    Returns:
        Columns `label`, `predicted`, `confidence` (of the predicted class), and for each layer `<metric>.<layer>`:
        `area` and `dispersion` (means over live maps; NaN without any), `area_all` and `dispersion_all` (over all
        maps), `silent` (share of dead maps), `live` (a bit per filter, packed), the measures of
        `succinctness_per_image`, and `succinctness@<t>/<share>` for each pair of the two settings.
    """
    with capture(network, layers) as maps:
        probabilities = network(images).softmax(1)
    confidence, predicted = probabilities.max(1)
    columns: dict[str, object] = {
        "label": labels.cpu().numpy(),
        "predicted": predicted.cpu().numpy(),
        "confidence": confidence.cpu().numpy(),
    }
    for layer in layers:
        activations = maps[layer]
        area, dispersion = concise_terms(activations, threshold)
        live = area > 0
        n_live = live.sum(1)
        columns[f"area.{layer}"] = (area.sum(1) / n_live).cpu().numpy()  # dead maps count 0 in the sum: 0 / 0 is NaN
        columns[f"dispersion.{layer}"] = (dispersion.sum(1) / n_live).cpu().numpy()
        columns[f"area_all.{layer}"] = area.mean(1).cpu().numpy()
        columns[f"dispersion_all.{layer}"] = dispersion.mean(1).cpu().numpy()
        columns[f"silent.{layer}"] = (1 - n_live / live.shape[1]).cpu().numpy()
        columns[f"live.{layer}"] = [row.tobytes() for row in np.packbits(live.cpu().numpy(), axis=1)]
        for name, values in succinctness_per_image(activations, threshold).items():
            columns[f"{name}.{layer}"] = values.cpu().numpy()
        if thresholds:
            grid = succinctness_grid(activations, thresholds, count_shares).flatten(0, 1).cpu().numpy()
            for (t, share), ratios in zip(product(thresholds, count_shares), grid, strict=True):
                columns[f"succinctness@{t:g}/{share:g}.{layer}"] = ratios
    return pd.DataFrame(columns)


def feature_map_values(rows: pd.DataFrame, filters: dict[str, int]) -> dict[str, float]:
    """The means over all images, by metric and layer, and over layers.

    Args:
        rows: of `feature_map_rows`.
        filters: how many filters each layer has.

    Returns:
        `accuracy`; for each metric `<metric>.<layer>` and, under its bare name, the mean over layers; `dead.<layer>`
        (share of filters without a live map on any image) and `dead` (of all filters together). Images on which a
        metric is undefined are left out of its mean, and `undefined.<layer>` is their share for the succinctness;
        `count_inside_to_outside` is the ratio of the mean shares.
    """
    values = {"accuracy": float((rows["label"] == rows["predicted"]).mean())}
    dead = {}
    for layer, n_filters in filters.items():
        bits = np.frombuffer(b"".join(rows[f"live.{layer}"]), dtype=np.uint8).reshape(len(rows), -1)
        ever_live = np.unpackbits(np.bitwise_or.reduce(bits, axis=0), count=n_filters)
        dead[layer] = n_filters - int(ever_live.sum())
        values[f"dead.{layer}"] = dead[layer] / n_filters
        values[f"undefined.{layer}"] = float(rows[f"succinctness.{layer}"].isna().mean())
    values["dead"] = sum(dead.values()) / sum(filters.values())
    ends = tuple(f".{layer}" for layer in filters)
    metrics = {name[: -len(end)] for name in map(str, rows.columns) for end in ends if name.endswith(end)} - {"live"}
    for metric in sorted(metrics):
        means = [float(rows[f"{metric}.{layer}"].mean()) for layer in filters]
        if metric == "count_inside_to_outside":  # infinite for single images: the ratio of the means instead
            inside = [float(rows[f"count_inside.{layer}"].mean()) for layer in filters]
            means = [float("inf") if share == 1 else share / (1 - share) for share in inside]
        values |= {f"{metric}.{layer}": mean for layer, mean in zip(filters, means, strict=True)}
        values[metric] = float(np.mean(means))
    return values


@torch.inference_mode()
def thinned_succinctness(
    network: nn.Module, kept: Mapping[str, float], images: Tensor, draws: int, seed: int, threshold: float = 0.1
) -> dict[str, float]:
    """Succinctness of a network of whose filters only some are looked at, drawn at random among the live ones.

    The control for filter death: what a smaller number of filters does to the ratio by itself.

    Args:
        network: in eval mode.
        kept: for each layer the share of its filters to keep, in [0, 1]; all live ones where there are fewer.
        images: (N, C, H, W) uint8.
        draws: of the filters, to average over.
        seed: of the draws.
        threshold: t of the masks.

    Returns:
        `thinned.<layer>`, and `thinned`, the mean over layers.
    """
    sums = dict.fromkeys(kept, 0.0)
    counts = dict.fromkeys(kept, 0)
    batches = images.split(500)
    live = dict.fromkeys(kept, torch.tensor(False))
    for batch in batches:
        with capture(network, list(kept)) as maps:
            network(scale(batch))
        live = {layer: live[layer] | (maps[layer].amax((0, 2, 3)) > 0) for layer in kept}
    generator = torch.Generator().manual_seed(seed)
    choices = {
        layer: [
            candidates[torch.randperm(len(candidates), generator=generator)[: round(share * len(live[layer]))]]
            for _ in range(draws)
        ]
        for layer, share in kept.items()
        for candidates in [torch.nonzero(live[layer]).flatten()]
    }
    for batch in batches:
        with capture(network, list(kept)) as maps:
            network(scale(batch))
        for layer in kept:
            for choice in choices[layer]:
                ratio = succinctness_per_image(maps[layer][:, choice], threshold)["succinctness"]
                sums[layer] += float(ratio.nansum())
                counts[layer] += int(ratio.isfinite().sum())
    means = {layer: sums[layer] / counts[layer] if counts[layer] else float("nan") for layer in kept}
    return {f"thinned.{layer}": mean for layer, mean in means.items()} | {
        "thinned": float(np.mean(list(means.values())))
    }
