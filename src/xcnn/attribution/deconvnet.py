"""DeconvNet (Zeiler & Fergus 2014)."""

from typing import ClassVar

from xcnn.attribution.guided_backprop import GuidedBackprop


class DeconvNet(GuidedBackprop):
    """The gradient, with max(m, 0) at every ReLU, whatever the ReLU did (section 4.1); max poolings keep switches.

    Args:
        activations: "relu": others than ReLU and ReLU6 are refused; "all": max(m, 0) at them as well.
        model, chunk: as for `WalkMethod`.
    """

    composites: ClassVar[tuple[str, str]] = ("deconvnet", "deconvnet_all")
