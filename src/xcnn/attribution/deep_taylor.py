"""Deep Taylor decomposition (Montavon et al. 2017)."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from xcnn.attribution.lrp import LRP
from xcnn.errors import UserError

COMPOSITES = {"box": "deep_taylor", "squares": "deep_taylor_squares", "plus": "deep_taylor_plus"}


class DeepTaylor(LRP):
    """The z+ rule, and at the pixels a rule for their domain (section 5.1, eqs. 15-20); biases take nothing.

    Args:
        domain: "box": z-box between `low` and `high`; "squares": w^2, for unbounded inputs; "plus": z+, for inputs that
            are not negative.
        low, high: as for `LRP`.
        model, chunk: as for `WalkMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        domain: Literal["box", "squares", "plus"] = "box",
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        chunk: int | None = None,
    ):
        if domain not in COMPOSITES:
            raise UserError(f"domain is {domain!r}; choose one of {', '.join(COMPOSITES)}.")
        super().__init__(model, COMPOSITES[domain], None, low, high, chunk)
