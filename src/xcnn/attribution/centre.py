"""A control: the centre of the image, where photographers put their subject."""

import torch
from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.probe import Probe
from xcnn.errors import UserError


class Centre(LayerMethod):
    """A Gaussian around the centre of the image at the layer's resolution, the same for every image and class.

    Args:
        spread: standard deviation, as a share of each side.
        model, layer: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str, spread: float = 0.25):
        super().__init__(model, layer)
        if spread <= 0:
            raise UserError(f"spread must be above 0, not {spread}.")
        self.spread = spread

    def attribute(self, probe: Probe) -> Tensor:
        n, _, height, width = probe.features.shape
        rows, columns = (
            ((torch.arange(size, device=probe.features.device) + 0.5) / size - 0.5).div(self.spread).square()
            for size in (height, width)
        )
        return torch.exp(-(rows[:, None] + columns) / 2).expand(n, -1, -1)
