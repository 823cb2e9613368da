"""A control of sanity checks: noise that is drawn anew for every network."""

import zlib

from torch import nn

from xcnn.attribution.random import Random


class FreshNoise(Random):
    """Uniform noise in [0, 1) at the layer's resolution, drawn by the network's weights and the image's own bytes.

    Two networks have maps of zero covariance, so checks by randomised weights find no better method, though it
    explains nothing (Binder et al. 2023).

    Args:
        model, layer: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str):
        weights = (weight.detach().float().cpu().numpy().tobytes() for weight in model.parameters())
        seed = 0
        for weight in weights:
            seed = zlib.crc32(weight, seed)
        super().__init__(model, layer, seed)
