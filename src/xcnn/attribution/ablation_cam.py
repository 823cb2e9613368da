"""Ablation-CAM (Desai & Ramaswamy 2020)."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.maps import safe_abs
from xcnn.attribution.method import Targets
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32, full_precision
from xcnn.errors import UserError

Relative = Literal["score", "norm", "none"]


class AblationCAM(LayerMethod):
    """ReLU(sum_k w_k A_k), w_k = (Y - Y_k) / Y with channel k set to zero (eqs. 3 and 4).

    Args:
        relative: divisor of a drop: "score" (|Y|), "norm" (||A_k||, the paper's slope), or "none".
        model, layer, chunk: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str, relative: Relative = "score", chunk: int | None = None):
        super().__init__(model, layer, chunk)
        if relative not in get_args(Relative):
            raise UserError(f"relative is {relative!r}; choose one of {', '.join(get_args(Relative))}.")
        self.relative = relative

    def attribute(self, probe: Probe) -> Tensor:
        return torch.einsum("nk,nkhw->nhw", self._weights(probe), at_least_float32(probe.features)).relu()

    def weights(self, images: Tensor, targets: Targets = None) -> Tensor:
        """The channel weights w_k, (N, K)."""
        probe = self.probe(images, targets)
        with full_precision(images.device):
            return self._weights(probe)

    def every_class(self, images: Tensor) -> Tensor:
        """Maps for every class at once, (N, classes, h, w)."""
        probe = self.probe(images)
        with full_precision(images.device):
            weights = self._divided(
                probe.channel_drops(every_class=True), probe, at_least_float32(probe.logits)[:, :, None]
            )
            return torch.einsum("nck,nkhw->nchw", weights, at_least_float32(probe.features)).relu()

    def _weights(self, probe: Probe) -> Tensor:
        return self._divided(probe.channel_drops(), probe, probe.score[:, None])

    def _divided(self, drops: Tensor, probe: Probe, score: Tensor) -> Tensor:
        if self.relative == "score":
            return drops / safe_abs(score)
        if self.relative == "norm":
            norms = at_least_float32(probe.features).flatten(2).norm(dim=2)
            return drops / safe_abs(norms if drops.ndim == 2 else norms[:, None])
        return drops
