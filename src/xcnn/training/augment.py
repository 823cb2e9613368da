"""Random changes of a training batch that keep its labels.

Everything is drawn from torch's own generator, which a training reseeds each epoch, so a resumed one draws the same.
"""

import torch
from torch import Tensor

from xcnn.errors import UserError


class FlipCrop:
    """Mirrors half of the images, and shifts each by up to `padding` pixels; what a shift uncovers is reflected.

    The same as padding by reflection, then cropping at random, without the padded copy.

    Args:
        padding: largest shift in pixels along each axis, at least 0 and less than the images' side.
    """

    def __init__(self, padding: int):
        if padding < 0:
            raise UserError(f"padding must be at least 0, not {padding}.")
        self.padding = padding

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to changed ones of the same shape; the argument is left as it is.

        Raises:
            UserError: images smaller than the padding.
        """
        n, channels, height, width = images.shape
        if min(height, width) <= self.padding:
            raise UserError(f"padding {self.padding} needs images of more than that; these are {height} x {width}.")
        shifts = torch.randint(-self.padding, self.padding + 1, (2, n, 1))
        mirrored = torch.rand(n, 1) < 0.5
        rows, columns = (
            _reflected(torch.arange(size) + shift, size) for size, shift in zip((height, width), shifts, strict=True)
        )
        columns = torch.where(mirrored, columns.flip(1), columns)
        places = (
            torch.arange(n)[:, None, None, None],
            torch.arange(channels)[:, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        )
        return images[tuple(place.to(images.device) for place in places)]


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places outside 0..size - 1 folded back at the edges, which are not repeated."""
    return size - 1 - (size - 1 - places.abs()).abs()
