"""Pixel Ablation-CAM (Samanta et al. 2025)."""

from typing import Literal, get_args

from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.maps import normalise, safe_abs
from xcnn.attribution.method import Targets
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32, full_precision
from xcnn.errors import UserError

Variant = Literal["paper", "author", "drop"]


class PixelAblationCAM(LayerMethod):
    """The share of the score lost when the K-vector at a location is zeroed: w_ij = (Y - Y_ij) / Y (eq. 4).

    Eq. 5 as printed sums over the locations too, which leaves no map; three readings are implemented.

    Args:
        variant: "paper": ReLU(w_ij sum_k A_kij), eq. 5 with the sum over the channels; "author": the authors' public
            code, sum_k of w A with w brought to [0, 1], brought to [0, 1] again, no ReLU; "drop": w_ij itself.
        model, layer, chunk: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str, variant: Variant = "paper", chunk: int | None = None):
        super().__init__(model, layer, chunk)
        if variant not in get_args(Variant):
            raise UserError(f"variant is {variant!r}; choose one of {', '.join(get_args(Variant))}.")
        self.variant = variant

    def attribute(self, probe: Probe) -> Tensor:
        return self._maps(self._weights(probe), at_least_float32(probe.features).sum(1))

    def weights(self, images: Tensor, targets: Targets = None) -> Tensor:
        """The location weights w_ij, (N, h, w)."""
        probe = self.probe(images, targets)
        with full_precision(images.device):
            return self._weights(probe)

    def every_class(self, images: Tensor) -> Tensor:
        """Maps for every class at once, (N, classes, h, w)."""
        probe = self.probe(images)
        with full_precision(images.device):
            weights = probe.location_drops(every_class=True) / safe_abs(
                at_least_float32(probe.logits)[:, :, None, None]
            )
            total = at_least_float32(probe.features).sum(1, keepdim=True).expand_as(weights)
            return self._maps(weights.flatten(0, 1), total.flatten(0, 1)).unflatten(0, weights.shape[:2])

    @staticmethod
    def _weights(probe: Probe) -> Tensor:
        return probe.location_drops() / safe_abs(probe.score[:, None, None])

    def _maps(self, weights: Tensor, total: Tensor) -> Tensor:
        if self.variant == "paper":
            return (weights * total).relu()
        if self.variant == "author":
            return normalise(normalise(weights) * total)
        return weights
