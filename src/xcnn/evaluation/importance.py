"""What it costs to remove the filters that a ranking calls most important."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from xcnn.data.pictures import PictureBatch
from xcnn.errors import UserError
from xcnn.evaluation.image_rows import image_rows, with_intervals
from xcnn.evaluation.subject import Subject
from xcnn.filters import Ranking, filter_importance, without_filters
from xcnn.models.split import split_at
from xcnn.report.cells import Cell
from xcnn.report.tables import Row
from xcnn.report.verdicts import over_seeds


def measure_importance(
    cell: Cell,
    subject: Subject,
    layer: str,
    ranking: Ranking,
    n_images: int,
    counts: Sequence[int],
    orders: int,
    seed: int,
    chunk: int,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Importance of a layer's filters on training images, and the accuracy on test images without the first of them.

    Args:
        n_images: training images that filters are ranked on, drawn by the seed.
        counts: numbers of filters that are removed, rising.
        orders: number of orders that a random ranking is the mean of.
        chunk: test images whose rows a kill can cost.

    Returns:
        Values: `accuracy` (with all filters), `accuracy/<k>` (without the first k) and `lost` (the accuracy less the
        mean over the counts), with intervals over images (`.low`, `.high`). Details: `importance` of each filter.

    Raises:
        UserError: as `filter_importance` and `without_filters`, or counts that are none.
    """
    if not counts:
        raise UserError("counts is empty: give the numbers of filters that are removed, such as [1,2,4,8].")
    train = subject.data.train
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:n_images]
    inputs, labels = subject.prepare(train.images[drawn].to(subject.device)), train.labels[drawn]
    found = [
        filter_importance(subject.network, layer, ranking, inputs, labels, seed * 1000 + order, subject.batch)
        for order in range(orders if ranking == "random" else 1)
    ]
    listed = [importance.argsort(descending=True, stable=True).tolist() for importance in found]
    split = split_at(subject.network, layer)

    @torch.no_grad()
    def columns(batch: PictureBatch) -> Mapping[str, Sequence[Any]]:
        features = split.trunk(subject.normalise(subject.scaled(batch)))
        decided = without_filters(split, features, listed, [0, *counts]).argmax(3).cpu()
        right = (decided == batch.labels).double().mean(0)  # (1 + counts, n), mean over orders
        lost = right[0] - right[1:].mean(0)
        each = {f"accuracy/{count}": values for count, values in zip(counts, right[1:], strict=True)}
        return {"accuracy": right[0].tolist(), "lost": lost.tolist()} | {name: v.tolist() for name, v in each.items()}

    rows = image_rows(cell, subject, chunk, columns)
    table = rows.loc[~rows["broken"].astype(bool)].drop(columns=["broken", "id", "label"])
    return with_intervals(table), {
        "importance": [round(float(value), 8) for value in found[0]],
        "counts": list(counts),
        "filters": len(found[0]),
        "orders": len(listed),
    }


def agreement(one: Row, other: Row) -> dict[str, Any]:
    """How far two rankings of the same filters agree, seed by seed: Kendall's tau.

    Returns:
        The two rows as `one` and `other`; `tau`, the mean over the seeds that both have, None without any; `interval`,
        over seeds, None for fewer than two.
    """
    by_seed = {record["seed"]: record["details"]["importance"] for record in other.records}
    taus = [
        float(kendalltau(record["details"]["importance"], by_seed[record["seed"]]).statistic)
        for record in one.records
        if record["seed"] in by_seed
    ]
    interval = over_seeds(taus) if len(taus) > 1 else None
    return {"one": one, "other": other, "tau": float(np.mean(taus)) if taus else None, "interval": interval}
