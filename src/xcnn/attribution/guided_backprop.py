"""Guided backpropagation (Springenberg et al. 2015)."""

from typing import ClassVar, Literal, get_args

from torch import nn

from xcnn.attribution.walk_method import WalkMethod
from xcnn.errors import UserError

Activations = Literal["relu", "all"]


class GuidedBackprop(WalkMethod):
    """The gradient, with negative multipliers set to 0 at every ReLU: max(m, 0) [z > 0].

    Args:
        activations: "relu": others than ReLU and ReLU6 are refused; "all": max(m, 0) f'(z) at them.
        model, chunk: as for `WalkMethod`.

    Raises:
        UserError: the network has another activation, and `activations` is "relu".
    """

    absolute: ClassVar[bool] = True
    composites: ClassVar[tuple[str, str]] = ("guided_backprop", "guided_backprop_all")

    def __init__(self, model: nn.Module, activations: Activations = "relu", chunk: int | None = None):
        if activations not in get_args(Activations):
            raise UserError(f"activations is {activations!r}; choose one of {', '.join(get_args(Activations))}.")
        super().__init__(model, self.composites[activations == "all"], chunk)
