"""Grad-CAM++ (Chattopadhay et al. 2018)."""

from typing import ClassVar

from torch import Tensor

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32


class GradCAMPlusPlus(LayerMethod):
    """ReLU(sum_k w_k A_k), w_k = sum_ij alpha_kij ReLU(dY/dA_kij), alpha by eq. 19.

    The class score is exp(Y), whose higher derivatives are powers of the gradient; its own factor exp(Y) cancels in
    alpha and scales the whole map elsewhere, so it is left out and cannot overflow.
    """

    uses_gradient: ClassVar[bool] = True

    def attribute(self, probe: Probe) -> Tensor:
        gradient, features = at_least_float32(probe.gradient), at_least_float32(probe.features)
        # alpha has no scale: gradients brought to 1 keep their cubes away from underflow, which an epsilon would not.
        scale = gradient.abs().amax((1, 2, 3), keepdim=True)
        g = gradient / scale.where(scale > 0, 1)
        denominator = 2 * g**2 + scale * features.sum((2, 3), keepdim=True) * g**3
        alpha = g**2 / denominator.where(denominator != 0, 1)
        weight = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
        return (weight * features).sum(1).relu()
