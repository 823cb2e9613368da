"""Integrated gradients (Sundararajan et al. 2017)."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from xcnn.attribution.baselines import fitting_baselines
from xcnn.attribution.batch import Batch
from xcnn.attribution.gradient import Differentiable, transposed
from xcnn.attribution.input_method import InputMethod
from xcnn.errors import UserError
from xcnn.models.fold import Folded

Quadrature = Literal["gauss_legendre", "riemann"]


class IntegratedGradients(InputMethod):
    """(x - x0) times the mean gradient on the straight path from x0 to x (eq. 7), averaged over the baselines x0.

    Args:
        steps: points of the path at which the gradient is taken.
        baselines: (B, C, H, W); None for zeros.
        quadrature: "gauss_legendre", or "riemann": the sum of Sundararajan et al. at k / steps, k = 1 .. steps.
        model, chunk: as for `InputMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int = 32,
        baselines: Tensor | None = None,
        quadrature: Quadrature = "gauss_legendre",
        chunk: int | None = None,
    ):
        super().__init__(model, chunk)
        if steps < 1:
            raise UserError(f"steps must be at least 1, not {steps}.")
        if quadrature not in ("gauss_legendre", "riemann"):
            raise UserError(f"quadrature is {quadrature!r}; choose gauss_legendre or riemann.")
        self.steps, self.baselines, self.quadrature = steps, baselines, quadrature
        self._folded = Folded(self.network)

    def record(self, images: Tensor) -> Batch:
        fitting_baselines(self.baselines, images)  # refused before the pass
        return super().record(images)

    def attribute(self, batch: Batch) -> Tensor:
        images, baselines = batch.images, fitting_baselines(self.baselines, batch.images)
        if self.quadrature == "riemann":
            points, weights = np.arange(1, self.steps + 1) / self.steps, np.full(self.steps, 1 / self.steps)
        else:
            points, weights = np.polynomial.legendre.leggauss(self.steps)
            points, weights = (points + 1) / 2, weights / 2
        total, (first, rest) = torch.zeros_like(images), self._folded()
        end = first(images)
        for baseline in baselines.split(1):
            start, mean = first(baseline), torch.zeros_like(end)
            for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
                at = Differentiable(torch.lerp(start, end, point), rest)
                at.targets = batch.targets
                mean.add_(at.gradient(), alpha=weight)
            total += (images - baseline) * transposed(first, images, mean)
        batch.ablations += self.steps * len(baselines)
        return total / len(baselines)
