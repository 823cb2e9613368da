"""Which filter of one training is which of another: filters have no order of their own (DeConvolve, table 1)."""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from xcnn.errors import UserError

__all__ = ["filter_correlation", "match_filters", "paired"]


def filter_correlation(before: Tensor, after: Tensor) -> Tensor:
    """Pearson correlation (K, K) float64 of each filter before with each after, over images and positions.

    A constant filter (a dead one among them) has no correlation; it counts as 0.

    Args:
        before: activations (n, K) or (n, K, h, w) on some images.
        after: those of another training at the same layer on the same images, in the same order.

    Raises:
        UserError: the shapes differ or there is no data.
    """
    if before.shape != after.shape or before.ndim not in (2, 4) or not before.numel():
        raise UserError(
            "activations of the same images at the same layer are needed, (n, filters) or (n, filters, h, w) twice; "
            f"found {tuple(before.shape)} and {tuple(after.shape)}."
        )

    def standardised(activations: Tensor) -> Tensor:
        rows = activations.detach().transpose(0, 1).flatten(1).double()
        constant = rows.amax(1, keepdim=True) == rows.amin(1, keepdim=True)
        rows = rows - rows.mean(1, keepdim=True)
        return torch.where(constant, 0, rows / rows.norm(dim=1, keepdim=True))

    return (standardised(before) @ standardised(after).T).clamp(-1, 1)


def match_filters(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """The one-to-one matching of filters with the largest sum of correlations (Hungarian method).

    Args:
        before: as for `filter_correlation`, as is `after`.
        after: see `before`.

    Returns:
        permutation (K,) int64, such that `after[:, permutation]` is ordered as `before`, and the correlations (K,)
        float64 of the matched pairs.

    Raises:
        UserError: as for `filter_correlation`.
    """
    correlation = filter_correlation(before, after)
    rows, columns = linear_sum_assignment(correlation.cpu().numpy(), maximize=True)
    permutation = torch.as_tensor(columns, device=correlation.device)
    return permutation, correlation[torch.as_tensor(rows, device=correlation.device), permutation]


def paired(before: Sequence[int], after: Sequence[int], partner: Tensor, n: int) -> list[tuple[int, int]]:
    """Filters of two trainings in pairs, half of them chosen by each side's own ranking, so that neither is favoured.

    Args:
        before: filters of one training, the best first.
        after: filters of the other, likewise.
        partner: (K,) permutation: the filter before that belongs to each filter after.
        n: number of pairs; of an odd number the first training chooses one more.

    Returns:
        At most n pairs (before, after), no two alike: first those chosen before, then those chosen after.
    """
    partner = partner.cpu()
    back = torch.empty_like(partner)
    back[partner] = torch.arange(len(partner))
    first = [(k, int(back[k])) for k in before[: (n + 1) // 2]]
    second = [(int(partner[k]), k) for k in after]
    return first + [pair for pair in second if pair not in first][: n - len(first)]
