"""A control: where the layer is active at all, whatever the class."""

from torch import Tensor

from xcnn.attribution.method import Method
from xcnn.attribution.probe import Probe
from xcnn.device import wide


class ActivationSum(Method):
    """sum_k A_k."""

    def attribute(self, probe: Probe) -> Tensor:
        return wide(probe.features).sum(1)
