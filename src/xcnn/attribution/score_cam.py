"""Score-CAM (Wang et al. 2020)."""

import torch
from torch import Tensor, nn

from xcnn.attribution.method import Method, normalise, upsample
from xcnn.attribution.probe import Probe
from xcnn.device import wide
from xcnn.errors import UserError


class ScoreCAM(Method):
    """ReLU(sum_k softmax(s)_k A_k), s_k the target's logit when the picture is masked by the normalised map k.

    K passes of the whole network an image (eq. 7 and algorithm 1 with the picture of zeros, the mean in normalised
    pixels, as baseline, whose score is the same for all k and cancels in the softmax). Channels that are the same
    everywhere mask all and take no part, as in the authors' code.

    Args:
        batch: masked pictures that go through the network at a time.
        model, layer: as for `Method`.
    """

    def __init__(self, model: nn.Module, layer: str, batch: int = 32):
        super().__init__(model, layer)
        if batch < 1:
            raise UserError(f"batch must be at least 1, not {batch}.")
        self.batch = batch

    def attribute(self, probe: Probe) -> Tensor:
        features = wide(probe.features)
        weights = torch.zeros(features.shape[:2], dtype=features.dtype, device=features.device)
        images = probe.images.to(probe.features.dtype)
        for image, maps, target, weight in zip(images, features, probe.targets, weights, strict=True):
            live = (maps.amax((1, 2)) > maps.amin((1, 2))).nonzero()[:, 0]
            scores = []
            for part in live.split(self.batch):
                masks = normalise(upsample(maps[part], image.shape[1:])).to(image.dtype)
                scores.append(wide(self.split.head(self.split.trunk(image * masks[:, None]))[:, target]))
            if scores:  # a layer that is silent everywhere has an empty map
                weight[live] = torch.cat(scores).softmax(0)
        probe.ablations += (features.amax((2, 3)) > features.amin((2, 3))).sum(1).cpu()
        return torch.einsum("nk,nkhw->nhw", weights, features).relu()
