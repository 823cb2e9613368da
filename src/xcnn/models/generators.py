"""Two generators of images that share a U-Net, or have one each (Charachon et al. 2020).

The U-Net is that of the authors' later code (cGANsExplainer): at each of three resolutions two convolutions of 16, 32
and 64 filters, with BatchNorm, ReLU and dropout; max-pooling on the way down, nearest neighbours and concatenation on
the way up; one convolution as output block.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from xcnn.errors import UserError


class UNet(nn.Module):
    """Images (N, C, H, W) to maps (N, widths[0], H, W).

    Args:
        channels: C.
        widths: number of filters at each resolution, the finest first.
        dropout: share of the activations dropped after each convolution.
    """

    def __init__(self, channels: int, widths: Sequence[int], dropout: float):
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.down = nn.ModuleList(_block(n, width, dropout) for n, width in zip(inputs, widths, strict=True))
        self.up = nn.ModuleList(_block(coarse + fine, fine, dropout) for fine, coarse in pairwise(widths))
        self.pool, self.upsample = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

    def forward(self, images: Tensor) -> Tensor:
        finer: list[Tensor] = []
        maps = images
        for place, block in enumerate(self.down):
            maps = block(self.pool(maps) if place else maps)
            finer.append(maps)
        for block, skipped in zip(reversed(self.up), reversed(finer[:-1]), strict=True):
            maps = block(torch.cat([self.upsample(maps), skipped], 1))
        return maps


class GeneratorPair(nn.Module):
    """Images (N, C, H, W), as a classifier takes them, to a similar and an adversarial image, (N, C, H, W) each.

    Args:
        channels: C.
        widths, dropout: of the U-Net.
        shared: whether both have one body and an output block each; else a body each as well.
        low, high: bounds of the images' values, one for all channels or one for each.

    Raises:
        UserError: there is no width, or `low` is not below `high`; in the call, sides that the poolings do not divide.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        dropout: float = 0.2,
        shared: bool = True,
        low: float | Sequence[float] = 0.0,
        high: float | Sequence[float] = 1.0,
    ):
        super().__init__()
        bounds = [torch.as_tensor(each, dtype=torch.float32).expand(channels).clone() for each in (low, high)]
        if not widths or not (bounds[0] < bounds[1]).all():
            raise UserError(f"widths {list(widths)}, low {low}, high {high}: give widths, and low below high.")
        self.bodies = nn.ModuleList(UNet(channels, widths, dropout) for _ in range(1 if shared else 2))
        self.outputs = nn.ModuleList(nn.Conv2d(widths[0], channels, 3, padding="same") for _ in range(2))
        self.multiple = 2 ** (len(widths) - 1)
        for name, each in zip(("low", "high"), bounds, strict=True):
            self.register_buffer(name, each[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if any(side % self.multiple for side in images.shape[2:]):
            raise UserError(f"images are {tuple(images.shape[2:])}; their sides must be multiples of {self.multiple}.")
        maps = [body(images) for body in self.bodies]
        similar, adversarial = (
            self.low + (self.high - self.low) * output(each).sigmoid()
            for output, each in zip(self.outputs, (maps[0], maps[-1]), strict=True)
        )
        return similar, adversarial

    def unit(self, images: Tensor) -> Tensor:
        """The images with `low` at 0 and `high` at 1."""
        return (images - self.low) / (self.high - self.low)


def _block(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (inputs, outputs):
        layers += [nn.Conv2d(n, outputs, 3, padding="same", bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
