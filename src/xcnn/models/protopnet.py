"""ProtoPNet (Chen et al. 2019): classification by the distances of image patches to prototypes of each class.

The maps of a backbone's layer go through two 1 x 1 convolutions to a latent z in (0, 1)^channels per location. With
prototypes p in the same space,

    distance    d(p) = min over locations of ||z - p||^2
    similarity  s(p) = log((d(p) + 1) / (d(p) + 1e-4))
    logit       y_j  = sum over p of w_jp s(p),   w_jp = 1 at first if p is of class j, else -0.5.

Distances are expanded to ||z||^2 - 2 z.p + ||p||^2, which rounding can make negative: they are clamped at 0. They and
what follows are computed in float32 at least, also under autocast, and by a matrix product, which a GPU does not round
to TF32 as it does a convolution: a pushed prototype's distance to its patch must be small compared with 1e-4.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from xcnn.device import at_least_float32
from xcnn.errors import UserError
from xcnn.models.capture import capture

EPSILON = 1e-4  # added to distances in the similarity
PROBE = 96  # side in pixels of the image by which the layer's maps are counted


class ProtoPNet(nn.Module):
    """Images (N, C, H, W) to logits (N, n_classes).

    Attributes:
        features: the backbone up to `layer`; its modules and parameters are the given ones, not copies.
        add_on: convolutions from the layer's maps to the latent.
        prototypes: (P, channels, 1, 1), P = n_classes * per_class, those of a class next to each other.
        last: linear layer from similarities to logits, weight (n_classes, P), no bias.
        class_of: class of each prototype, (P,) int64.
        source: (P, 3) int64, origin of each prototype after a push: index of the training image, row and column in the
            latent; -1 before any push. It is saved with the weights.

    Args:
        backbone: a network that `torch.fx` can trace; it is left in its mode.
        layer: name of the layer whose output (N, D, h, w) is compared with the prototypes.
        per_class: number of prototypes of each class.
        channels: number of channels of the latent z.

    Raises:
        UserError: no such layer, its output is not maps, fewer than two classes, no prototypes or no channels.
    """

    class_of: Tensor
    source: Tensor

    def __init__(self, backbone: nn.Module, layer: str, n_classes: int, per_class: int, channels: int = 128):
        super().__init__()
        if n_classes < 2 or per_class < 1 or channels < 1:
            raise UserError(
                f"ProtoPNet needs at least 2 classes, a prototype for each and a channel, not n_classes={n_classes}, "
                f"per_class={per_class}, channels={channels}."
            )
        n = n_classes * per_class
        with capture(backbone, [layer]):  # refuses an unknown layer by a message with those that there are
            self.features = create_feature_extractor(backbone, {layer: "maps"}, suppress_diff_warning=True)
        self.add_on = nn.Sequential(
            nn.Conv2d(_n_maps(self.features, layer), channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )
        for convolution in (self.add_on[0], self.add_on[2]):
            nn.init.kaiming_normal_(cast(Tensor, convolution.weight), mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, convolution.bias))
        self.prototypes = nn.Parameter(torch.rand(n, channels, 1, 1))
        self.register_buffer("class_of", torch.arange(n_classes).repeat_interleave(per_class))
        self.register_buffer("source", torch.full((n, 3), -1))
        self.last = nn.Linear(n, n_classes, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(torch.where(self.own, 1.0, -0.5))

    @property
    def own(self) -> Tensor:
        """Which prototypes are of which class, (n_classes, P) bool."""
        return self.class_of == torch.arange(self.last.out_features, device=self.class_of.device)[:, None]

    def latent(self, images: Tensor) -> Tensor:
        """Images to z (N, channels, h, w), in (0, 1)."""
        return self.add_on(self.features(images)["maps"])

    def distances(self, latent: Tensor) -> Tensor:
        """Squared distances (N, P, h, w), at least 0, of a latent's locations to the prototypes."""
        with torch.autocast(latent.device.type, enabled=False):
            z = at_least_float32(latent).flatten(2)
            p = self.prototypes.to(z.dtype).flatten(1)
            middle = p.detach().mean(0)  # moves no distance, and keeps the rounding of small ones far below EPSILON
            z, p = z - middle[:, None], p - middle
            squared = z.square().sum(1, keepdim=True) - 2 * (p @ z) + p.square().sum(1, keepdim=True)
            return squared.clamp(min=0).unflatten(2, latent.shape[2:])

    def min_distances(self, images: Tensor) -> Tensor:
        """Each prototype's squared distance to the nearest location of each image, (N, P)."""
        return self.distances(self.latent(images)).flatten(2).min(2).values

    def logits(self, min_distances: Tensor) -> Tensor:
        """Logits (N, n_classes) of the smallest distances (N, P)."""
        with torch.autocast(min_distances.device.type, enabled=False):
            similarities = ((min_distances + 1) / (min_distances + EPSILON)).log()
            return F.linear(similarities, self.last.weight.to(similarities.dtype))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.min_distances(images))


def _n_maps(features: nn.Module, layer: str) -> int:
    """How many maps the layer gives, seen on a black image in evaluation mode, which leaves BatchNorm's statistics."""
    kernel = next(parameter for parameter in features.parameters() if parameter.ndim == 4)
    training = features.training
    features.eval()
    with torch.no_grad():
        maps = features(kernel.new_zeros(1, kernel.shape[1], PROBE, PROBE))["maps"]
    features.train(training)
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise UserError(f"layer {layer!r} does not give maps (N, D, h, w). Choose an earlier layer.")
    return maps.shape[1]
