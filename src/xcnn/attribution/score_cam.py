"""Score-CAM (Wang et al. 2020)."""

import torch
from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.maps import normalise, upsample
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32
from xcnn.errors import UserError


class ScoreCAM(LayerMethod):
    """ReLU(sum_k softmax(s)_k A_k), s_k the target's logit of the image masked by the normalised map k.

    K passes of the whole network for each image (eq. 7 and algorithm 1; the baseline is an image of zeros, the mean in
    normalised pixels, whose score is the same for all k and cancels in the softmax). Constant channels, whose mask is
    zero, are left out, as in the authors' code.

    Args:
        batch: number of masked images that go through the network at a time.
        model, layer: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str, batch: int = 32):
        super().__init__(model, layer)
        if batch < 1:
            raise UserError(f"batch must be at least 1, not {batch}.")
        self.batch = batch

    def attribute(self, probe: Probe) -> Tensor:
        features = at_least_float32(probe.features)
        weights = torch.zeros(features.shape[:2], dtype=features.dtype, device=features.device)
        images = probe.images.to(probe.features.dtype)
        for image, maps, target, weight in zip(images, features, probe.targets, weights, strict=True):
            live = (maps.amax((1, 2)) > maps.amin((1, 2))).nonzero()[:, 0]
            scores = []
            for part in live.split(self.batch):
                masks = normalise(upsample(maps[part], image.shape[1:])).to(image.dtype)
                scores.append(at_least_float32(self.split.head(self.split.trunk(image * masks[:, None]))[:, target]))
            if scores:  # all channels are constant for an image that activates none
                weight[live] = torch.cat(scores).softmax(0)
        probe.ablations += (features.amax((2, 3)) > features.amin((2, 3))).sum(1).cpu()
        return torch.einsum("nk,nkhw->nhw", weights, features).relu()
