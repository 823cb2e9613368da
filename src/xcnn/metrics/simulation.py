"""How well a simulated response predicts a filter's: correlation and precision, of every prediction with every filter.

Of the metrics that NeuronEval (ICML 2025) examined, Pearson correlation and the area under the precision-recall curve
are among the few that fall both when half of a concept's labels go missing and when as many false ones are added; its
two tests are here, to be run on them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TOP = 0.05  # share of the cells that a filter counts as firing on


def correlations(predicted: Tensor, actual: Tensor) -> Tensor:
    """Pearson correlation of each prediction (P, n) with each filter (K, n): (P, K) float64.

    0 for a constant prediction, which says nothing; NaN for a constant filter, of which nothing can be said.
    """
    first, second = (_standardised(values) for values in (predicted, actual))
    found = (first @ second.T).clamp(-1, 1)
    found[:, second.square().sum(1) == 0] = torch.nan
    return found


def _standardised(values: Tensor) -> Tensor:
    """Rows with mean 0 and norm 1; zeros for a constant row."""
    centred = values.double() - values.double().mean(1, keepdim=True)
    centred = centred.where((values.amax(1) > values.amin(1))[:, None], 0)
    norm = centred.norm(dim=1, keepdim=True)
    return centred / norm.where(norm > 0, 1)


def firing(actual: Tensor, top: float = TOP) -> Tensor:
    """The cells (K, n) on which each filter (K, n) fires: the `top` share with the highest activation, above 0.

    All cells that equal the last of them belong to it.
    """
    k = max(1, round(top * actual.shape[1]))
    return (actual >= actual.topk(k, dim=1).values[:, -1:]) & (actual > 0)


def average_precisions(predicted: Tensor, actual: Tensor, top: float = TOP) -> Tensor:
    """Area under the precision-recall curve of each prediction (P, n) for the cells on which each filter (K, n) fires.

    Cells with equal predictions enter the curve together, as in scikit-learn's `average_precision_score`. The value of
    a constant prediction is the share of cells that fire.

    Returns:
        (P, K) float64; NaN for a filter that never fires.
    """
    positives = firing(actual, top)
    n_positive = positives.sum(1).double()
    found = torch.full((len(predicted), len(actual)), torch.nan, dtype=torch.float64)
    for row, values in enumerate(predicted):
        order = values.argsort(descending=True)
        ordered = values[order]
        ends = torch.nonzero(torch.cat([ordered[1:] != ordered[:-1], torch.tensor([True])])).flatten()
        hits = positives[:, order].cumsum(1, dtype=torch.int32)[:, ends].double()  # (K, distinct values)
        gained = torch.diff(hits, dim=1, prepend=torch.zeros(len(hits), 1, dtype=hits.dtype))
        found[row] = (gained * hits / (ends + 1)).sum(1) / n_positive
    return found


def recalls(predicted: Tensor, actual: Tensor, top: float = TOP) -> Tensor:
    """Share of each filter's firing cells where a prediction is above 0: (P, K). False labels cannot lower it."""
    positives = firing(actual, top).double()
    return (predicted > 0).double() @ positives.T / positives.sum(1)


class LabelTests(NamedTuple):
    """Share of concepts whose score falls when half of the labels are missing, and with as many false ones added."""

    missing: float
    extra: float


def label_tests(
    concepts: Tensor, actual: Tensor, score: Callable[[Tensor, Tensor], Tensor], seed: int = 0
) -> LabelTests:
    """NeuronEval's two tests of a metric: a good one falls in both for every concept.

    Args:
        concepts: (C, n) bool, the cells that show each concept.
        actual: (C, n), a filter's activations for each, which follow it.
        score: predictions (P, n) and filters (K, n) to (P, K).
        seed: random seed of the labels that are taken away or added.
    """
    generator = torch.Generator().manual_seed(seed)
    falls = []
    for concept, activation in zip(concepts, actual, strict=True):
        inside, outside = (torch.nonzero(mask).flatten() for mask in (concept, ~concept))
        n = len(inside)
        missing, extra = concept.clone(), concept.clone()
        missing[inside[torch.randperm(n, generator=generator)[: n // 2]]] = False
        extra[outside[torch.randperm(len(outside), generator=generator)[:n]]] = True
        whole, less, more = score(torch.stack([concept, missing, extra]).float(), activation[None])[:, 0].tolist()
        falls.append((less < whole, more < whole))
    return LabelTests(*(sum(each) / len(falls) for each in zip(*falls, strict=True)))
