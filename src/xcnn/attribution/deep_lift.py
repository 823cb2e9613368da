"""DeepLIFT (Shrikumar et al. 2017)."""

from typing import Literal

import torch
from torch import Tensor, nn

from xcnn.attribution.backward import Recorded
from xcnn.attribution.baselines import fitting_baselines
from xcnn.attribution.batch import Batch
from xcnn.attribution.walk_method import WalkMethod
from xcnn.errors import UserError

COMPOSITES = {"rescale": "deep_lift_rescale", "reveal_cancel": "deep_lift_reveal_cancel"}


class DeepLIFT(WalkMethod):
    """Contributions C = m (x - x0), which add up to Y(x) - Y(x0) (section 5.2), averaged over the baselines x0.

    A baseline's pass is of one image, whatever the batch.

    Args:
        rule: "rescale", or "reveal_cancel" where a linear map feeds an activation and nothing else (eqs. 23-25).
        baselines: (B, C, H, W); None for zeros.
        model, chunk: as for `WalkMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Literal["rescale", "reveal_cancel"] = "rescale",
        baselines: Tensor | None = None,
        chunk: int | None = None,
    ):
        if rule not in COMPOSITES:
            raise UserError(f"rule is {rule!r}; choose one of {', '.join(COMPOSITES)}.")
        super().__init__(model, COMPOSITES[rule], chunk)
        self.baselines = baselines

    def record(self, images: Tensor) -> Recorded:
        fitting_baselines(self.baselines, images)  # refused before the pass
        return super().record(images)

    def attribute(self, batch: Batch) -> Tensor:
        assert isinstance(batch, Recorded)
        baselines = fitting_baselines(self.baselines, batch.images)
        total = torch.zeros_like(batch.images)
        for place, baseline in enumerate(baselines.split(1), 1):
            multiplier, _ = batch.send(
                reference=self.walk.forward(baseline), keep=batch.again or place < len(baselines)
            )
            total += multiplier * (batch.images - baseline)
        return total / len(baselines)
