"""Guided Grad-CAM (Selvaraju et al. 2017)."""

from typing import Literal

from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.grad_cam import GradCAM
from xcnn.attribution.guided_backprop import GuidedBackprop
from xcnn.attribution.maps import upsample


class GuidedGradCAM(GuidedBackprop):
    """Guided backpropagation times Grad-CAM at the input's size (section 4.7).

    Args:
        layer: qualified name of Grad-CAM's layer.
        model, activations, chunk: as for `GuidedBackprop`.

    Raises:
        UserError: as for `GradCAM` and `GuidedBackprop`.
    """

    def __init__(
        self, model: nn.Module, layer: str, activations: Literal["relu", "all"] = "relu", chunk: int | None = None
    ):
        super().__init__(model, activations, chunk)
        self.grad_cam = GradCAM(model, layer)

    def attribute(self, batch: Batch) -> Tensor:
        maps = upsample(self.grad_cam(batch.images, batch.targets), batch.images.shape[2:])
        return super().attribute(batch) * maps[:, None]
