"""Bounds on distances that let Lloyd's algorithm skip rows whose nearest centroid cannot have changed."""

import torch
from torch import Tensor

from xcnn.prototypes.k_means.rows import RowStream


class DistanceBounds:
    """Lower bounds on how much nearer each row is to its centroid than to any other (Hamerly 2010).

    The margin of a row shrinks by no more than its own centroid's step plus the largest step of another. While it is
    above 0, the row keeps its cluster and need not be compared, so that the result is Lloyd's. Margins are lowered
    by the largest error that rounding may cause.
    """

    def __init__(self, rows: RowStream):
        self.rows, self.margins, self.centroids = rows, torch.zeros_like(rows.lengths), torch.empty(0)
        self.error = 64 * torch.finfo(self.margins.dtype).eps

    def move(self, centroids: Tensor, labels: Tensor) -> None:
        """Lower all margins for centroids (k, d) that have moved; labels (n,) are the rows' clusters so far."""
        if len(self.centroids):
            steps = torch.linalg.vector_norm(centroids - self.centroids, dim=1) * (1 + self.error)
            largest, second = steps.topk(2).values
            others = torch.where(torch.arange(len(steps), device=steps.device) == steps.argmax(), second, largest)
            self.margins -= (steps + others)[labels.long()]
        self.centroids = centroids

    def open(self, where: slice) -> Tensor:
        """Indices within a piece of the rows whose nearest centroid may have changed."""
        return (self.margins[where] <= 0).nonzero()[:, 0]

    def close(self, rows: Tensor, scores: Tensor, least: Tensor, nearest: Tensor, offsets: Tensor) -> None:
        """Record the margins of rows (m,).

        Args:
            rows: places of the rows.
            scores: their relative distances (k, m) to all centroids; overwritten.
            least, nearest: the smallest of these and its centroid, (m,) each.
            offsets: squared lengths of the centroids, (k, 1).
        """
        lengths = self.rows.lengths[rows]
        next_best = scores.scatter_(0, nearest[None], torch.inf).amin(0)
        own, other = ((score + lengths).clamp_(min=0).sqrt_() for score in (least, next_best))
        hidden = self.error * (lengths + offsets.max()) / other.clamp(min=torch.finfo(other.dtype).tiny)
        self.margins[rows] = other.sub_(own).sub_(hidden)
