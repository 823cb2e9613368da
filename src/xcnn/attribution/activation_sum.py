"""A control: the sum of the layer's activations, whatever the class."""

from torch import Tensor

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32


class ActivationSum(LayerMethod):
    """sum_k A_k."""

    def attribute(self, probe: Probe) -> Tensor:
        return at_least_float32(probe.features).sum(1)
