"""Where filters fire most: the images and places of a data set on which each filter's activation is largest."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.models.split import Split

__all__ = ["TopPatches", "top_patches"]


class TopPatches(NamedTuple):
    """The strongest images of each of K filters, strongest first: (K, count) each.

    Attributes:
        activation: the largest activation on the image.
        image: index of the image.
        row, column: of the location with that activation.
    """

    activation: Tensor
    image: Tensor
    row: Tensor
    column: Tensor


@torch.no_grad()
def top_patches(split: Split, batches: Iterable[Tensor], count: int = 5) -> TopPatches:
    """The images, one place each, on which each filter of a layer fires most; the first of equal ones.

    Args:
        split: the network, cut at the layer.
        batches: network inputs (n, C, H, W), whose images are numbered through.
        count: number of images for each filter.

    Raises:
        UserError: the layer gives no maps, or there are fewer images than `count`.
    """
    best, places, images, seen, width = None, None, None, 0, 0
    for batch in batches:
        maps = split.trunk(batch)
        if maps.ndim != 4:
            raise UserError(f"layer {split.layer!r} gives {tuple(maps.shape[1:])} per image, not maps (filters, h, w).")
        width = maps.shape[3]
        values, where = maps.flatten(2).max(2)
        values, where = values.T, where.T  # (K, n)
        index = torch.arange(seen, seen + len(batch), device=values.device).expand_as(values)
        seen += len(batch)
        if best is not None:
            values, where = torch.cat([best, values], 1), torch.cat([places, where], 1)  # type: ignore[list-item]
            index = torch.cat([images, index], 1)  # type: ignore[list-item]
        order = values.argsort(dim=1, descending=True, stable=True)[:, :count]
        best, places, images = values.gather(1, order), where.gather(1, order), index.gather(1, order)
    if best is None or places is None or images is None or seen < count:
        raise UserError(f"{seen} images have no {count} strongest: give more images, or ask for fewer.")
    return TopPatches(best, images, places // width, places % width)
