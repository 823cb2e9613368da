"""Squared distances of rows to centroids, and sums of rows by cluster."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

TALL, WIDE = 1024, 256  # rows and features from which a 1 x 1 convolution is the faster product with few centroids


def nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Index of each row's nearest centroid, ties to the lowest, and its squared distance.

    Distances are |x|^2 - 2 x.c + |c|^2, clamped at 0, in the dtype of the rows: off by its precision times |x|^2.

    Args:
        rows: (..., n, d).
        centroids: (..., k, d).

    Returns:
        labels (..., n) int64 and squared distances (..., n).
    """
    scores, labels = (centroids.square().sum(-1)[..., None, :] - 2 * rows @ centroids.mT).min(-1)
    return labels, scores.add_(rows.square().sum(-1)).clamp_(min=0)


def squared_lengths(rows: Tensor) -> Tensor:
    """(..., d) to (...)."""
    return torch.linalg.vector_norm(rows, dim=-1).square_()


def relative_distances(piece: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances of rows (B, m, d) to centroids (B, T, k, d), less the rows' squared lengths: (B, T, k, m)."""
    flat = centroids.flatten(1, 2)
    offsets = flat.square().sum(-1, keepdim=True)
    sets, m, width = piece.shape
    if sets == 1 and piece.device.type == "cpu" and piece.dtype == torch.float32 and m >= TALL and width >= WIDE:
        image = piece.view(1, m, 1, width).permute(0, 3, 1, 2)  # m pixels of d channels
        products = conv2d(image, -2 * flat[0, :, :, None, None])[..., 0].contiguous().add_(offsets)
    else:
        products = torch.baddbmm(offsets, flat, piece.mT, alpha=-2)
    return products.unflatten(1, centroids.shape[1:3])


def cluster_sums(rows: Tensor, labels: Tensor, k: int) -> Tensor:
    """Sum of the rows (m, d) of each label in 0..k - 1: (k, d), the same at every run."""
    if rows.device.type == "cpu":
        return rows.new_zeros(k, rows.shape[1]).index_add_(0, labels, rows)
    weights = rows.new_zeros(len(rows), k).scatter_(1, labels[:, None], 1)
    return weights.T @ rows
