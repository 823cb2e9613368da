"""Feature-based explanation method (Fuad et al. 2020)."""

import torch
from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.maps import normalise
from xcnn.attribution.method import Targets, _checked
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32, full_precision
from xcnn.errors import UserError


class FEM(LayerMethod):
    """sum_k mu_k [A_k >= mu_k + K sigma_k], brought to [0, 1] (eq. 26): where features are unusually strong.

    mu_k and sigma_k are the mean and standard deviation of channel k over its locations. There is no class in it, and
    no gradient; `method(images)` does not even run the head.

    Args:
        deviations: K.
        model, layer: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str, deviations: float = 1.0):
        super().__init__(model, layer)
        if deviations < 0:
            raise UserError(f"deviations must be at least 0, not {deviations}.")
        self.deviations = deviations

    def __call__(self, images: Tensor, targets: Targets = None) -> Tensor:
        _checked(images, targets)
        features = self._features(images)
        if features.ndim != 4:
            raise UserError(
                f"layer {self.layer!r} gives {tuple(features.shape)}, not maps (N, K, h, w): cut before the pooling."
            )
        if bad := (~features.isfinite().flatten(1).all(1)).nonzero()[:10, 0].tolist():
            named = ", ".join(map(str, bad))
            raise UserError(f"NaN or infinity in the activations at {self.layer!r}, for image(s) {named} of the batch.")
        with full_precision(images.device):
            return self._maps(features)

    def attribute(self, probe: Probe) -> Tensor:
        return self._maps(probe.features)

    def _maps(self, features: Tensor) -> Tensor:
        features = at_least_float32(features)
        deviation, mean = torch.std_mean(features, (2, 3), correction=0, keepdim=True)
        strong = features >= mean + self.deviations * deviation
        return normalise((mean * strong).sum(1))
