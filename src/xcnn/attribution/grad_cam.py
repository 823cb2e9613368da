"""Grad-CAM (Selvaraju et al. 2017)."""

from typing import ClassVar

from torch import Tensor

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32


class GradCAM(LayerMethod):
    """ReLU(sum_k alpha_k A_k), alpha_k the mean over locations of dY/dA_k (eqs. 1 and 2)."""

    uses_gradient: ClassVar[bool] = True

    def attribute(self, probe: Probe) -> Tensor:
        alpha = at_least_float32(probe.gradient).mean((2, 3), keepdim=True)
        return (alpha * probe.features).sum(1).relu()
