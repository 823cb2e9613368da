"""Similarity of maps with each other and with a mask (Bylinskii et al. 2019, "What do different evaluation metrics tell
us about saliency models?").

Every function compares map by map, (N, h, w) with (N, h, w) -> (N,), in float64. Where a map is constant there is
nothing to compare: NaN, not 0. Ties are broken at random by a seed, and by another one for the second map, so that the
zeros of two maps do not agree because they stand in the same reading order.
"""

import numpy as np
import torch
from torch import Tensor

from xcnn.device import at_least_float32
from xcnn.errors import UserError
from xcnn.metrics.ranking import finite, relevance_rank

__all__ = ["auc_judd", "cosine", "dice", "jaccard", "kl", "nss", "pcc", "rank_correlation", "sim", "top_share"]

EPSILON = torch.finfo(torch.float64).eps  # of KL, as in the authors' code


def pcc(maps: Tensor, others: Tensor) -> Tensor:
    """Pearson's correlation over the locations, in [-1, 1].

    Raises:
        UserError: as all functions here: shapes do not fit, or a map is not finite.
    """
    maps, others = _pair(maps, others)
    a, b = (values - values.mean(1, keepdim=True) for values in (maps, others))
    return _where_varied((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)), maps, others)


def cosine(maps: Tensor, others: Tensor) -> Tensor:
    """Cosine of the angle between the maps as vectors, in [-1, 1]; NaN only where a map is zero everywhere."""
    maps, others = _pair(maps, others)
    return (maps * others).sum(1) / (maps.norm(dim=1) * others.norm(dim=1))


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Spearman's rank correlation over the locations, in [-1, 1]; tied values share their mean rank."""
    maps, others = _pair(maps, others)
    return pcc(*(_mean_ranks(values)[:, None] for values in (maps, others)))


def sim(maps: Tensor, others: Tensor) -> Tensor:
    """Histogram intersection sum_i min(P_i, Q_i) of the maps as distributions, in [0, 1].

    Raises:
        UserError: also where a map has a negative value.
    """
    p, q = _distributions(maps, others)
    return torch.minimum(p, q).sum(1)


def kl(maps: Tensor, truth: Tensor) -> Tensor:
    """Kullback-Leibler divergence sum_i Q_i log(eps + Q_i / (eps + P_i)) of a map P from a truth Q, at least 0.

    Lower is more similar.

    Raises:
        UserError: also where a map has a negative value.
    """
    p, q = _distributions(maps, truth)
    return (q * (EPSILON + q / (EPSILON + p)).log()).sum(1)


def nss(maps: Tensor, fixated: Tensor) -> Tensor:
    """Normalised scanpath saliency: the mean of the standardised map over the fixated locations, bool (N, h, w)."""
    maps, chosen = _pair(maps, fixated)
    deviation, mean = torch.std_mean(maps, 1, keepdim=True)
    return _where_varied(((maps - mean) / deviation * chosen).sum(1) / chosen.sum(1), maps, chosen)


def auc_judd(maps: Tensor, fixated: Tensor, seed: int = 0) -> Tensor:
    """Area under the ROC curve whose thresholds are the map's values at the fixated locations, bool (N, h, w): [0, 1].

    By the trapezoid rule from (0, 0) over all thresholds to (1, 1), as in the authors' code: it lies above the
    Mann-Whitney statistic by half a fixated location's share of the last threshold's false positives.
    """
    maps, chosen = _pair(maps, fixated)
    order = _shuffled_rank(maps, seed).argsort(1)
    hits = chosen.gather(1, order)
    positives, negatives = chosen.sum(1), (1 - chosen).sum(1)
    false = (1 - hits).cumsum(1) / negatives[:, None]
    # Between two thresholds the true positives rise by 1 / positives, half of which counts.
    above = (hits.cumsum(1) - hits / 2) / positives[:, None]
    last = torch.where(hits > 0, false, 0).amax(1)
    before = torch.cat([torch.zeros_like(false[:, :1]), torch.where(hits > 0, false, 0).cummax(1).values[:, :-1]], 1)
    area = (torch.where(hits > 0, false - before, 0) * above).sum(1) + 1 - last
    return _where_varied(area, maps, chosen)


def top_share(maps: Tensor, share: float | Tensor, seed: int = 0) -> Tensor:
    """The highest `share` of each map's locations, exactly so many: (N, h, w) -> bool (N, h, w).

    Args:
        share: in (0, 1], for all maps or for each (N,); 0 marks none, such as for an empty mask.
        seed: random seed that ties are broken by.

    Raises:
        UserError: a share outside [0, 1], or a map is not finite.
    """
    shares = torch.as_tensor(share, dtype=torch.float64, device=maps.device).expand(len(maps))
    if not ((shares >= 0) & (shares <= 1)).all():
        raise UserError(f"share is {share}; it is the share of the locations to mark: choose one in (0, 1].")
    flat = at_least_float32(finite(maps).flatten(1))
    counts = (shares * flat.shape[1]).round().long().tolist()
    order = _shuffled(flat, seed)
    marked = torch.zeros_like(flat, dtype=torch.bool)
    for row, values, count in zip(marked, flat, counts, strict=True):
        if count:
            lowest = values.kthvalue(len(values) - count + 1).values
            row |= values > lowest
            tied = order[(values == lowest)[order]]
            row[tied[: count - row.sum()]] = True
    return marked.view_as(maps)


def jaccard(marked: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of two sets of locations, bool (N, h, w), in [0, 1]; NaN where either is empty."""
    both, a, b = _sizes(marked, others)
    return (both / (a + b - both)).where((a > 0) & (b > 0), torch.nan)


def dice(marked: Tensor, others: Tensor) -> Tensor:
    """Dice's coefficient 2 |A and B| / (|A| + |B|) of two sets, bool (N, h, w), in [0, 1]; NaN where one is empty."""
    both, a, b = _sizes(marked, others)
    return (2 * both / (a + b)).where((a > 0) & (b > 0), torch.nan)


def varied(maps: Tensor) -> Tensor:
    """Whether each map has a difference that rounding does not account for: (N, ...) -> bool (N,)."""
    flat = maps.flatten(1)
    return flat.amax(1) - flat.amin(1) > 8 * torch.finfo(maps.dtype).eps * flat.abs().amax(1)


def _where_varied(scores: Tensor, *maps: Tensor) -> Tensor:
    for each in maps:
        scores = scores.where(varied(each), torch.nan)
    return scores


def _pair(maps: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The two as (N, locations) in float64; what is constant in the caller's precision is exactly so."""
    if maps.ndim != 3 or maps.shape != others.shape:
        raise UserError(
            f"maps are {tuple(maps.shape)} and {tuple(others.shape)}; pass two of one size (N, h, w): upsample first."
        )
    return _flat(finite(maps)), _flat(finite(others))


def _flat(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    flat = flat if flat.is_floating_point() else flat.double()
    return torch.where(varied(flat)[:, None], flat, flat[:, :1]).double()


def _distributions(maps: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    pair = _pair(maps, others)
    if any((values < 0).any() for values in pair):
        raise UserError("a map has a negative value, which no distribution has: pass maps.clamp(min=0).")
    ok = varied(pair[0]) & varied(pair[1])
    p, q = (values / values.sum(1, keepdim=True) for values in pair)
    return p.where(ok[:, None], torch.nan), q


def _mean_ranks(values: Tensor) -> Tensor:
    """Ranks from 1, tied values with their mean: (N, locations) -> float64 (N, locations)."""
    on_cpu = values.device.type == "cpu"  # where NumPy sorts five times as fast as torch
    places = torch.from_numpy(np.argsort(values.numpy(), axis=1)) if on_cpu else values.argsort(1)
    ordered = values.gather(1, places)
    first = torch.ones_like(ordered, dtype=torch.bool)  # of its run of equal values
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = first.flatten().nonzero().flatten()
    lengths = starts.diff(append=starts.new_tensor([ordered.numel()]))
    mean = (starts % ordered.shape[1]).double() + (lengths + 1).double() / 2
    ranks = mean.repeat_interleave(lengths).view_as(ordered)
    return torch.empty_like(ranks).scatter_(1, places, ranks)


def _shuffled(values: Tensor, seed: int) -> Tensor:
    """The locations of (N, locations) in the order in which ties are broken."""
    return torch.randperm(values.shape[1], generator=torch.Generator().manual_seed(seed)).to(values.device)


def _shuffled_rank(values: Tensor, seed: int) -> Tensor:
    """Place of each location from the highest (0) to the lowest, ties at random: (N, locations) -> int64."""
    order = _shuffled(values, seed)
    ranks = torch.empty_like(values, dtype=torch.int64)
    ranks[:, order] = relevance_rank(values[:, None, order], (1, values.shape[1]))[:, 0]
    return ranks


def _sizes(marked: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if marked.shape != others.shape or not marked.dtype == others.dtype == torch.bool:
        raise UserError(
            f"the sets are {marked.dtype} {tuple(marked.shape)} and {others.dtype} {tuple(others.shape)}; pass "
            "booleans of one size."
        )
    a, b = marked.flatten(1), others.flatten(1)
    return (a & b).sum(1).double(), a.sum(1).double(), b.sum(1).double()
