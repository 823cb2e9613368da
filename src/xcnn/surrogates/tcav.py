"""Concept activation vectors (Kim et al. 2018): does a class's logit rise as features move towards a concept?

A vector points from the features of other images to those of a concept's images, at any cut of a network. A class's
score is the share of its images whose logit has a positive derivative along the vector.

A vector is a combination of the images' features, and all that is asked of it are inner products with features and
with gradients. So features enter as inner products alone: once these are formed, a vector costs as much as the number
of its images asks for, however many features there are.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from xcnn.errors import UserError
from xcnn.models.split import Split

Kind = Literal["logistic", "mean_difference"]
Floats = NDArray[np.float64]
BLOCK = 2**24  # numbers of a block of features that is widened to float32 at a time


def concept_vector(concept: Tensor, others: Tensor, kind: Kind = "logistic", c: float = 1.0) -> Tensor:
    """The unit vector from other images' features to a concept's.

    Args:
        concept: (n, ...) features of the concept's images.
        others: (m, ...) features of the other images.
        kind, c: as of `coefficients`.

    Returns:
        (D,), in the features' dtype.

    Raises:
        UserError: as `coefficients`.
    """
    rows = torch.cat([concept, others]).flatten(1)
    found = coefficients((rows @ rows.T).double().cpu().numpy(), len(concept), kind, c)
    return torch.from_numpy(found).to(rows) @ rows


def coefficients(gram: Floats, n: int, kind: Kind = "logistic", c: float = 1.0) -> Floats:
    """A unit vector's coefficients on the features of its images: the vector is `coefficients @ rows`.

    Args:
        gram: (n + m, n + m), inner products of the features of n images of the concept, then of m other images.
        n: number of the concept's images.
        kind: "mean_difference" of the two means, or the normal of scikit-learn's "logistic" regression.
        c: inverse strength of the L2 penalty, for features in units of their root mean square distance to their mean.

    Raises:
        UserError: fewer than two images on a side, an unknown kind, or images that are all the same.
    """
    size = len(gram)
    if n < 2 or size - n < 2:
        raise UserError(f"a concept vector needs at least two images on each side, not {n} and {size - n}.")
    if kind not in get_args(Kind):
        raise UserError(f"unknown kind of concept vector {kind!r}; there are: {', '.join(get_args(Kind))}.")
    of_concept = np.arange(size) < n
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    scale = np.trace(centred) / size
    if scale <= 1e-12 * np.trace(gram) / size:
        raise UserError("the images of a concept and the others have the same features: give images that differ.")
    if kind == "mean_difference":
        found = np.where(of_concept, 1 / n, -1 / (size - n))
    else:
        # Coordinates of the images in the span of their features: the regression's normal lies in it.
        lengths, axes = np.linalg.eigh(centred / scale)
        kept = lengths > 1e-10 * lengths[-1]
        root = np.sqrt(lengths[kept])
        model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-8).fit(axes[:, kept] * root, of_concept)
        found = axes[:, kept] @ (model.coef_[0] / root)
    found = found / np.sqrt(found @ gram @ found)
    return np.asarray(found, np.float64)


def gradients(split: Split, features: Tensor, target: int) -> Tensor:
    """Gradient of a class's logit with respect to each image's features, (N, ...) to (N, ...)."""
    with torch.inference_mode(False), torch.enable_grad():
        start = features.detach().clone().requires_grad_()
        logits = split.head(start)
        if not 0 <= target < logits.shape[1]:
            raise UserError(f"there is no class {target}: the network has classes 0 to {logits.shape[1] - 1}.")
        (found,) = torch.autograd.grad(logits[:, target].sum(), start, allow_unused=True, materialize_grads=True)
    return found


def tcav_scores(derivatives: Any) -> Any:
    """Share of the images with a positive derivative along each vector: (N, ...) of an array to (...)."""
    return (derivatives > 0).mean(0, dtype=None if isinstance(derivatives, np.ndarray) else torch.float64)


def inner_products(parts: Iterable[Tensor], rows: Tensor) -> Floats:
    """Inner products of features, in blocks, summed in float64.

    Args:
        parts: (n_i, ...) each, of any float dtype; together (N, ...).
        rows: (M, ...) of any float dtype, which may be mapped from a file.

    Returns:
        (N, M).
    """
    flat = rows.flatten(1)
    width = max(1, BLOCK // len(flat))
    found = []
    for part in parts:
        part = part.flatten(1)
        total = torch.zeros(len(part), len(flat), dtype=torch.float64)
        for start in range(0, flat.shape[1], width):
            block = slice(start, start + width)
            wide = torch.promote_types(flat.dtype, torch.float32)
            total += (part[:, block].to("cpu", wide) @ flat[:, block].to("cpu", wide).T).double()
        found.append(total.numpy())
    return np.concatenate(found)
