"""Prototypes among the embeddings of their class, and both in the plane, by UMAP (McInnes et al. 2018)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xcnn.prototypes import nearest


def plane(fitted: Tensor, others: Sequence[Tensor], seed: int = 0) -> list[NDArray[np.float32]]:
    """Points in the plane: of the rows (n, D) that UMAP is fitted on, and of others (m, D) that it is applied to.

    UMAP has its own defaults; seeded, it runs on one core and gives the same points every time.
    """
    from umap import UMAP  # takes 20 seconds

    reducer = UMAP(random_state=seed, n_jobs=1)
    return [reducer.fit_transform(fitted.numpy()), *(reducer.transform(points.numpy()) for points in others)]


def own_share(prototypes: Tensor, classes: Tensor, embeddings: Tensor, labels: Tensor) -> float:
    """Share in % of the prototypes (K, D) whose nearest embedding, of (N, D), is of their own class."""
    return 100 * float((labels[nearest(prototypes, embeddings)[0]] == classes).double().mean())


def class_distance(prototypes: Tensor, classes: Tensor, embeddings: Tensor, labels: Tensor) -> float:
    """Mean distance of prototypes to their class's mean, in root mean square distances of the class's embeddings to it.

    Args:
        prototypes, classes: (K, D), and the class of each (K,).
        embeddings, labels: (N, D), and the class of each (N,).
    """
    ratios = []
    for j in classes.unique():
        own = embeddings[labels == j]
        spread = (own - own.mean(0)).square().sum(1).mean().sqrt()
        ratios.append(torch.linalg.vector_norm(prototypes[classes == j] - own.mean(0), dim=1) / spread)
    return float(torch.cat(ratios).mean())
