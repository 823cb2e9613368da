"""A classifier with several columns for each class (Boubekki & Clemmensen 2026, section 3.1).

The paper reports of preliminary experiments that several columns, merged by max or average pooling and trained without
a regulariser, end with a single direction dominating each class. It gives no numbers, and neither the network nor the
training.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcnn.errors import UserError

Merge = Literal["max", "average"]


class MergedColumns(nn.Module):
    """Logits (N, C) of embeddings (N, D): the largest or the average dot product with the columns of a class.

    The average is that with one column, the mean of the class's: y = mean_k z . c_k = z . mean_k c_k.

    Args:
        columns: (C, m, D) m columns of each class, to be trained.
        merge: "max" or "average".

    Raises:
        UserError: another way of merging.
    """

    def __init__(self, columns: Tensor, merge: Merge):
        super().__init__()
        if merge not in ("max", "average"):
            raise UserError(f"columns are merged by max or average, not {merge!r}.")
        self.columns, self.merge = nn.Parameter(columns.clone()), merge

    def similarities(self, embeddings: Tensor) -> Tensor:
        """Dot products (N, C, m) of embeddings (N, D) with all columns."""
        return torch.einsum("nd,cmd->ncm", embeddings, self.columns)

    def forward(self, embeddings: Tensor) -> Tensor:
        found = self.similarities(embeddings)
        return found.amax(2) if self.merge == "max" else found.mean(2)


def random_columns(n_classes: int, per_class: int, width: int, seed: int) -> Tensor:
    """Columns (C, m, D) as `nn.Linear` draws its weights: uniform in ± 1 / sqrt(D).

    Args:
        seed: random seed of the columns.
    """
    drawn = torch.rand(n_classes, per_class, width, generator=torch.Generator().manual_seed(seed))
    return (2 * drawn - 1) / width**0.5


def fit_columns(network: MergedColumns, embeddings: Tensor, labels: Tensor, steps: int, lr: float) -> None:
    """Minimise the cross-entropy of embeddings (N, D) with labels (N,) by Adam on all of them at once, in place."""
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(network(embeddings), labels).backward()
        optimiser.step()


def dominance(chosen: Tensor, labels: Tensor) -> float:
    """Share of a class's images that choose the prototype which most of them choose; mean over classes, in [1/m, 1].

    Args:
        chosen: (N,) prototype of its own class that each image is nearest to, in 0..m - 1.
        labels: (N,) class of each image.
    """
    shares = [chosen[labels == j].bincount().max() / (labels == j).sum() for j in labels.unique()]
    return float(torch.stack(shares).mean())


def first_direction(columns: Tensor) -> float:
    """Share of the squared norm of a class's columns (C, m, D) along their first singular direction; mean over classes.

    In [1/m, 1]: 1 where all columns of a class are multiples of one vector.
    """
    squares = torch.linalg.svdvals(columns.double()).square()
    return float((squares[:, 0] / squares.sum(1)).mean())
