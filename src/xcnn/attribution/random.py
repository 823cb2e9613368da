"""A control: random maps."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.probe import Probe


class Random(LayerMethod):
    """Uniform noise in [0, 1) at the layer's resolution, drawn by the seed and the image's own bytes.

    So an image has the same map in any batch and shard.

    Args:
        seed: random seed of the maps.
        model, layer: as for `LayerMethod`.
    """

    def __init__(self, model: nn.Module, layer: str, seed: int = 0):
        super().__init__(model, layer)
        self.seed = seed

    def attribute(self, probe: Probe) -> Tensor:
        size = probe.features.shape[2:]
        images = probe.images.detach().float().cpu().numpy()
        maps = [np.random.default_rng((self.seed, zlib.crc32(image.tobytes()))).random(size) for image in images]
        return torch.tensor(np.stack(maps), dtype=torch.float32, device=probe.features.device)
