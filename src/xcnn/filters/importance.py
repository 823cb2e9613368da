"""How much a network's decisions depend on each filter of a layer, over all images: three rankings and chance.

- `permutation` (Breiman 2001; Fisher et al. 2019): the rise of the cross-entropy when a filter's maps are shuffled
  among the images, so that each image has another's.
- `ablation`: the rise when a filter's maps are set to zero.
- `score`: the largest magnitude over classes of algorithm 1's score (DeConvolve), which looks at no image.
- `random`: a random order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.filters.score import score_filters
from xcnn.models.split import Split, split_at

__all__ = ["RANKINGS", "Ranking", "filter_importance", "loss_rises", "without_filters"]

Ranking = Literal["permutation", "ablation", "score", "random"]
RANKINGS: tuple[Ranking, ...] = get_args(Ranking)


def filter_importance(
    model: nn.Module,
    layer: str,
    ranking: Ranking,
    inputs: Tensor,
    labels: Tensor,
    seed: int = 0,
    batch_size: int = 250,
) -> Tensor:
    """The importance of each filter of a layer: the more, the greater.

    Args:
        model: a network of images to logits; left as it is.
        layer: qualified name of a layer with maps.
        ranking: what it goes by.
        inputs: (N, C, H, W) network inputs.
        labels: (N,) their classes.
        seed: random seed of the shuffling, or of the random order.
        batch_size: images that go through the network at a time.

    Returns:
        (filters,) in float64.

    Raises:
        UserError: an unknown ranking, fewer than two images, a layer without maps, or as `split_at`.
    """
    if ranking not in RANKINGS:
        raise UserError(f"unknown ranking {ranking!r}; there are: {', '.join(RANKINGS)}.")
    if len(inputs) < 2:
        raise UserError(f"filters are ranked on at least two images, not {len(inputs)}: give more.")
    split = split_at(model, layer)
    with torch.no_grad():
        features = torch.cat([split.trunk(part) for part in inputs.split(batch_size)])
    if features.ndim != 4:
        raise UserError(f"layer {layer!r} gives {tuple(features.shape[1:])} per image, not maps (filters, h, w).")
    generator = torch.Generator().manual_seed(seed)
    if ranking == "random":
        return torch.rand(features.shape[1], generator=generator, dtype=torch.float64)
    if ranking == "score":
        return score_filters(model, layer, tuple(inputs.shape[1:])).abs().amax(0).double().cpu()
    # A random cycle: no image keeps its own maps.
    cycle = torch.randperm(len(features), generator=generator)
    others = torch.empty_like(cycle)
    others[cycle] = cycle.roll(1)
    others = others.to(features.device)

    def changed(channel: int, part: slice) -> Tensor:
        shuffled = features[others[part], channel]
        return shuffled if ranking == "permutation" else torch.zeros_like(shuffled)

    return loss_rises(split, features, labels.to(features.device), changed, batch_size)


@torch.no_grad()
def loss_rises(
    split: Split, features: Tensor, labels: Tensor, changed: Callable[[int, slice], Tensor], batch_size: int = 250
) -> Tensor:
    """The rise of the mean cross-entropy for each filter whose maps are replaced, (filters,) in float64.

    Args:
        features: (N, K, h, w), left as they are.
        changed: of a filter and a slice of the images, the maps (n, h, w) in its place.
    """
    parts = [slice(start, start + batch_size) for start in range(0, len(features), batch_size)]

    def loss(of: Tensor, part: slice) -> float:
        return float(F.cross_entropy(split.head(of), labels[part], reduction="sum").double())

    rises = torch.zeros(features.shape[1], dtype=torch.float64)
    for part in parts:
        own = features[part].clone()
        before = loss(own, part)
        for channel in range(features.shape[1]):
            own[:, channel] = changed(channel, part)
            rises[channel] += loss(own, part) - before
            own[:, channel] = features[part, channel]
    return rises / len(features)


@torch.no_grad()
def without_filters(split: Split, features: Tensor, orders: Sequence[Iterable[int]], counts: Sequence[int]) -> Tensor:
    """Logits with the first filters of an order set to zero, (orders, counts, N, classes).

    Args:
        features: (N, K, h, w), left as they are.
        orders: of the filters' indices.
        counts: numbers of filters that are removed.

    Raises:
        UserError: a count beyond the layer's filters.
    """
    filters = features.shape[1]
    if not all(0 <= count <= filters for count in counts):
        raise UserError(f"{max(counts)} filters cannot be removed of {filters}: give counts of 0 to {filters}.")
    found = []
    for order in orders:
        listed = list(order)
        found.append(
            torch.stack([split.head(features.index_fill(1, _index(listed[:count], features), 0)) for count in counts])
        )
    return torch.stack(found)


def _index(listed: Sequence[int], features: Tensor) -> Tensor:
    return torch.tensor(listed, dtype=torch.int64, device=features.device)
