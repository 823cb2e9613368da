"""Layer-wise relevance propagation (Bach et al. 2015)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from xcnn.attribution.backward import Composite, Recorded
from xcnn.attribution.batch import Batch
from xcnn.attribution.walk_method import WalkMethod
from xcnn.errors import UserError

Bias = Literal["absorb", "ignore"]


class LRP(WalkMethod):
    """R = a m with the multipliers of a composite of rules (section 5.1), from the target's logit down to the pixels.

    Args:
        composite: a name in `conf/composite` ("lrp_0", "lrp_epsilon", "epsilon_gamma_box", ...), the path of a YAML
            file like those, or a composite.
        bias: "absorb": biases are in the denominators and take their share; "ignore": they are left out of them; None
            as the composite says.
        low, high: bounds of the inputs for the z-box rule, one or one for each channel; None for each image's own.
        model, chunk: as for `WalkMethod`.

    Raises:
        UserError: an operation has no rule, the composite is at fault, or `low` is not below `high`.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: str | Path | Composite = "lrp_epsilon",
        bias: Bias | None = None,
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        chunk: int | None = None,
    ):
        if bias not in ("absorb", "ignore", None):
            raise UserError(f"bias is {bias!r}; choose absorb or ignore.")
        if low is not None and high is not None and not (torch.as_tensor(low) < torch.as_tensor(high)).all():
            raise UserError(f"low is {low} and high {high}; the bounds of the inputs need low below high.")
        super().__init__(model, composite, chunk, bias=bias, low=low, high=high)

    def attribute(self, batch: Batch) -> Tensor:
        assert isinstance(batch, Recorded)
        multiplier, relevance = batch.send(keep=batch.again)
        return batch.images * multiplier + relevance
