"""Retrieval with several right answers."""

import torch
from torch import Tensor


def recalls(scores: Tensor, positive: Tensor, k: int) -> Tensor:
    """Whether a right answer is among the first k of each query.

    Args:
        scores: (queries, answers), higher is better.
        positive: (queries, answers) bool.
        k: number of answers looked at; all where there are fewer.

    Returns:
        (queries,) 0 or 1, float64.
    """
    first = scores.topk(min(k, scores.shape[1]), 1).indices
    return positive.gather(1, first).any(1).double()


def recalls_by_class(positive: Tensor, same_class: Tensor) -> Tensor:
    """What the first answer is expected to be worth where the class is known and nothing else.

    Args:
        positive: (queries, answers) bool.
        same_class: (queries, answers) bool, the answers of the query's class.

    Returns:
        (queries,) share of right answers among those of the class.
    """
    return ((positive & same_class).sum(1) / same_class.sum(1).clamp(min=1)).to(torch.float64)
