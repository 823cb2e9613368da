"""A control: the edges of the image."""

import torch
from torch import Tensor
from torch.nn import functional

from xcnn.attribution.batch import Batch
from xcnn.attribution.method import Method

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8


class Edges(Method):
    """Length of the image's gradient by Sobel's filters (Adebayo et al. 2018), the largest over the channels.

    There is no network in it: a method that is as good only finds edges. Beyond the border the image goes on as it is
    at the border.
    """

    def maps(self, batch: Batch) -> Tensor:
        images = batch.images
        n, channels, *size = images.shape
        padded = functional.pad(images.reshape(n * channels, 1, *size), (1, 1, 1, 1), mode="replicate")
        kernels = torch.stack([SOBEL, SOBEL.T])[:, None].to(images)
        slopes = functional.conv2d(padded, kernels)
        return slopes.norm(dim=1).unflatten(0, (n, channels)).amax(1)
