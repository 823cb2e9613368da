"""SmoothGrad (Smilkov et al. 2017)."""

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.gradient import Gradient
from xcnn.attribution.input_method import InputMethod
from xcnn.errors import UserError


class SmoothGrad(InputMethod):
    """The mean of a method's relevance over noisy copies of the image (eq. 8), for the class of the image itself.

    The noise is drawn by the seed and the image's own bytes, so an image has the same map in any batch and shard.

    Args:
        method: makes the method to smooth from the network.
        samples: number of noisy copies.
        noise: standard deviation of the noise, as a share of the range of each image's values.
        seed: random seed of the noise.
        model, chunk: as for `InputMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Callable[[nn.Module], InputMethod] = Gradient,
        samples: int = 25,
        noise: float = 0.15,
        seed: int = 0,
        chunk: int | None = None,
    ):
        super().__init__(model, chunk)
        if samples < 1 or noise < 0:
            raise UserError(f"samples is {samples} and noise {noise}; give at least 1, and a share of at least 0.")
        self.method, self.samples, self.noise, self.seed = method(model), samples, noise, seed

    def attribute(self, batch: Batch) -> Tensor:
        images = batch.images
        generators = [
            np.random.default_rng((self.seed, zlib.crc32(image.float().cpu().numpy().tobytes()))) for image in images
        ]
        spread = self.noise * (images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True))

        def noisy() -> Tensor:
            drawn = np.stack([generator.standard_normal(images.shape[1:], np.float32) for generator in generators])
            return images + spread * torch.from_numpy(drawn).to(images)

        total = self.method.summed(batch, (noisy() for _ in range(self.samples)))
        batch.ablations += self.samples
        return total / self.samples

    def reduce(self, relevance: Tensor) -> Tensor:
        return self.method.reduce(relevance)
