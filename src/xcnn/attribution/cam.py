"""CAM (Zhou et al. 2016): the features weighted by the classifier that follows their average."""

from typing import ClassVar

from torch import Tensor

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32
from xcnn.errors import UserError


class CAM(LayerMethod):
    """sum_k W_ck A_k, with the weights of the linear layer after the global average pooling; no ReLU.

    Raises:
        UserError: when called, if the head is not global average pooling and a linear layer.
    """

    uses_gradient: ClassVar[bool] = True

    def attribute(self, probe: Probe) -> Tensor:
        gradient = at_least_float32(probe.gradient)
        weight = gradient.mean((2, 3), keepdim=True)
        # Of average pooling into a linear layer the gradient is the weight over the number of locations, everywhere.
        if not self.split.affine or (gradient - weight).abs().max() > 1e-4 * gradient.abs().max():
            raise UserError(
                f"CAM needs global average pooling and one linear layer after {self.layer!r}. "
                "Use Grad-CAM, which is the same there and goes further."
            )
        return (weight * gradient[0, 0].numel() * probe.features).sum(1)
