"""Label-preserving augmentation of training batches.

All draws come from torch's global generator, which a training reseeds at each epoch, so that a resumed training draws
what the uninterrupted one would have drawn.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.errors import UserError

TRIES = 10  # candidate boxes per image, the first that lies inside it is used; as torchvision's RandomResizedCrop


class FlipCrop:
    """Random horizontal flip with probability 1/2, and random crop after padding, without the padded copy.

    Args:
        padding: width of the padding in pixels, and so the largest shift along each axis; at least 0 and less than the
            images' side.
        fill: padding mode, "reflect" or "black" (zeros).

    Raises:
        UserError: a negative padding or an unknown padding mode.
    """

    def __init__(self, padding: int, fill: Literal["reflect", "black"] = "reflect"):
        if padding < 0:
            raise UserError(f"padding must be at least 0, not {padding}.")
        if fill not in ("reflect", "black"):
            raise UserError(f"fill must be 'reflect' or 'black', not {fill!r}.")
        self.padding, self.fill = padding, fill

    def __call__(self, images: Tensor) -> Tensor:
        """Augmented copies of images (N, C, H, W), of the same shape.

        Raises:
            UserError: images not larger than the padding.
        """
        n, channels, height, width = images.shape
        if min(height, width) <= self.padding:
            raise UserError(f"padding {self.padding} needs images of more than that; these are {height} x {width}.")
        shifts = torch.randint(-self.padding, self.padding + 1, (2, n, 1))
        mirrored = torch.rand(n, 1) < 0.5
        rows, columns = (torch.arange(size) + shift for size, shift in zip((height, width), shifts, strict=True))
        columns = torch.where(mirrored, columns.flip(1), columns)
        places = (
            torch.arange(n)[:, None, None, None],
            torch.arange(channels)[:, None, None],
            _reflected(rows, height)[:, None, :, None],
            _reflected(columns, width)[:, None, None, :],
        )
        changed = images[tuple(place.to(images.device) for place in places)]
        if self.fill == "black":
            inside = _inside(rows, height)[:, None, :, None] & _inside(columns, width)[:, None, None, :]
            changed.masked_fill_(~inside.to(images.device), 0)
        return changed


class ResizedCrop:
    """Random resized crop (bilinear), and random horizontal flip with probability 1/2.

    The distribution of the boxes is that of torchvision's `RandomResizedCrop`. A box is never larger than its image, so
    that the resizing only enlarges and antialiasing would change nothing.

    Args:
        scale: smallest and largest area of a box as a share of the image's area.
        ratio: smallest and largest aspect ratio of a box, width / height; its logarithm is uniform.

    Raises:
        UserError: a range that is empty or out of its bounds.
    """

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)):
        if not 0 < scale[0] <= scale[1] <= 1:
            raise UserError(f"scale must be two rising shares of the area in (0, 1], not {scale[0]}, {scale[1]}.")
        if not 0 < ratio[0] <= ratio[1]:
            raise UserError(f"ratio must be two rising positive aspects, not {ratio[0]}, {ratio[1]}.")
        self.scale, self.ratio = scale, ratio

    def __call__(self, images: Tensor) -> Tensor:
        """Augmented copies of floating-point images (N, C, H, W), of the same shape."""
        n, _, height, width = images.shape
        boxes = self.boxes(n, height, width)
        mirrored = torch.rand(n, 1) < 0.5
        x, y = (_centres(boxes[:, axis, None], boxes[:, axis + 2, None], (width, height)[axis]) for axis in (0, 1))
        x = torch.where(mirrored, x.flip(1), x)
        grid = torch.stack([x[:, None, :].expand(n, height, width), y[:, :, None].expand(n, height, width)], 3)
        return F.grid_sample(images, grid.to(images), padding_mode="border", align_corners=True)

    def boxes(self, n: int, height: int, width: int) -> Tensor:
        """Random boxes in n images of this size: (n, 4) int64, left, top, width and height in pixels."""
        area = height * width * torch.empty(n, TRIES).uniform_(*self.scale)
        aspect = torch.empty(n, TRIES).uniform_(math.log(self.ratio[0]), math.log(self.ratio[1])).exp()
        wide, high = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
        fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
        first = fits.int().argmax(1, keepdim=True)  # index of the first candidate that fits; 0 where none does
        size = torch.cat([wide.gather(1, first), high.gather(1, first)], 1)
        free = torch.tensor([width, height]) - size
        corner = (torch.rand(n, 2) * (free + 1)).long()
        # Where no candidate fits: the largest centred box with an allowed aspect ratio.
        largest = torch.tensor([
            min(width, round(height * self.ratio[1])), min(height, round(width / self.ratio[0]))
        ])  # fmt: skip
        middle = torch.cat([(torch.tensor([width, height]) - largest) // 2, largest])
        return torch.where(fits.any(1, keepdim=True), torch.cat([corner, size], 1), middle)


def _centres(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Sampling coordinates of a box that is resized to the image's side, along one axis.

    Args:
        start, length: first pixel and length of each box in pixels, (n, 1).
        size: side of the image in pixels.

    Returns:
        (n, size) as `grid_sample` takes them with aligned corners: -1 is the image's first pixel centre and 1 its last.
        Pixel centres are aligned, and clamped to the box.
    """
    within = ((torch.arange(size) + 0.5) * length / size - 0.5).clamp(min=0).minimum(length - 1.0)
    return 2 * (start + within) / max(size - 1, 1) - 1


def _inside(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def _reflected(places: Tensor, size: int) -> Tensor:
    """Coordinates outside 0..size - 1 reflected at the border pixels, which are not repeated."""
    return size - 1 - (size - 1 - places.abs()).abs()
