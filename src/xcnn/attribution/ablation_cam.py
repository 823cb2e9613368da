"""Ablation-CAM (Desai & Ramaswamy 2020)."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from xcnn.attribution.method import Method, Targets, precisely
from xcnn.attribution.probe import Probe
from xcnn.device import wide
from xcnn.errors import UserError

Relative = Literal["score", "norm", "none"]


class AblationCAM(Method):
    """ReLU(sum_k w_k A_k), w_k = (Y - Y_k) / Y with channel k set to zero (eqs. 3 and 4).

    Args:
        relative: what a drop is divided by: "score" (|Y|), "norm" (||A_k||, the paper's slope), or "none".
        model, layer, chunk: as for `Method`.
    """

    def __init__(self, model: nn.Module, layer: str, relative: Relative = "score", chunk: int | None = None):
        super().__init__(model, layer, chunk)
        if relative not in get_args(Relative):
            raise UserError(f"relative is {relative!r}; choose one of {', '.join(get_args(Relative))}.")
        self.relative = relative

    def attribute(self, probe: Probe) -> Tensor:
        return torch.einsum("nk,nkhw->nhw", self._weights(probe), wide(probe.features)).relu()

    def weights(self, images: Tensor, targets: Targets = None) -> Tensor:
        """w_k, (N, K)."""
        probe = self.probe(images, targets)
        with precisely(images.device):
            return self._weights(probe)

    def every_class(self, images: Tensor) -> Tensor:
        """Maps for every class at once, (N, classes, h, w)."""
        probe = self.probe(images)
        with precisely(images.device):
            weights = self._divided(probe.channel_drops(every_class=True), probe, wide(probe.logits)[:, :, None])
            return torch.einsum("nck,nkhw->nchw", weights, wide(probe.features)).relu()

    def _weights(self, probe: Probe) -> Tensor:
        return self._divided(probe.channel_drops(), probe, probe.score[:, None])

    def _divided(self, drops: Tensor, probe: Probe, score: Tensor) -> Tensor:
        if self.relative == "score":
            return drops / magnitude(score)
        if self.relative == "norm":
            norms = wide(probe.features).flatten(2).norm(dim=2)
            return drops / magnitude(norms if drops.ndim == 2 else norms[:, None])
        return drops


def magnitude(values: Tensor) -> Tensor:
    """Absolute values to divide by: never 0, so that what is divided keeps its sign and stays finite."""
    return values.abs().clamp(min=torch.finfo(values.dtype).tiny ** 0.5)
