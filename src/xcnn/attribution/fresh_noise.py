"""A control of sanity checks: noise that is drawn anew for every network."""

from torch import nn

from xcnn.attribution.random import Random
from xcnn.models import weights_hash


class FreshNoise(Random):
    """Uniform noise in [0, 1) at the layer's resolution, drawn by the network's weights and the image's own bytes.

    Two networks have maps of zero covariance, so checks by randomised weights find no better method, though it
    explains nothing (Binder et al. 2023).

    Args:
        model, layer: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str):
        super().__init__(model, layer, int(weights_hash(model), 16))
