"""Changes of values on few places of the maps, as rows of those places; and the values without a change."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from xcnn.errors import UserError
from xcnn.models.graph.regions import Regions

__all__ = ["Base", "Change", "channel_change", "channels_change", "patch_change"]


@dataclass(frozen=True)
class Change:
    """What patches add to a value: to maps (N, K, H, W), or to vectors (N, K), which are maps of one place.

    Attributes:
        regions: the places where the value changes, for each of P patches.
        rows: (R, K), what is added there; (R, 1) where one channel of each patch changes.
        channel: (P,), that channel; None where all may change.
        spent: whether the rows may be overwritten.
    """

    regions: Regions
    rows: Tensor
    channel: Tensor | None = None
    spent: bool = False

    def expanded(self, channels: int) -> "Change":
        """The change with rows of all channels."""
        if self.channel is None:
            return self
        rows = self.rows.new_zeros(len(self.rows), channels)
        rows.scatter_(1, self.channel[self.regions.patch, None], self.rows)
        return Change(self.regions, rows, spent=True)

    def at(self, regions: Regions) -> "Change":
        """The change with rows on other regions that hold its own."""
        if self.regions.same(regions):
            return replace(self, regions=regions)
        rows = self.rows.new_zeros(len(regions.patch), self.rows.shape[1])
        own = self.regions
        rows[regions.index(own.patch, own.row, own.column)] = self.rows
        return Change(regions, rows, self.channel, True)

    def taken(self, index: Tensor) -> Tensor:
        """The rows of an index (M,) as `Regions.index` gives it, (M, K): zeros where it is -1."""
        return torch.cat([self.rows.new_zeros(1, self.rows.shape[1]), self.rows]).index_select(0, index + 1)

    def maps(self, channels: int) -> Tensor:
        """The change on whole maps, (P, K, H, W)."""
        change, (height, width) = self.expanded(channels), self.regions.size
        whole = change.rows.new_zeros(len(self.regions), height * width, channels)
        whole[self.regions.patch, self.regions.spot] = change.rows
        return whole.transpose(1, 2).unflatten(2, (height, width))


class Base:
    """The values of a network's nodes for N images, without any change.

    Attributes:
        values: by node, those that are needed.
        shapes: shape of every node's value that is a tensor.
    """

    def __init__(self) -> None:
        self.values: dict[Node, Any] = {}
        self.shapes: dict[Node, torch.Size] = {}
        self._rows: dict[Node, Tensor] = {}
        self._formed: dict[Node, Tensor] = {}

    def size(self, node: Node) -> tuple[int, int]:
        """Height and width of a node's maps; 1 x 1 for vectors."""
        shape = self.shapes[node]
        return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)

    def rows(self, node: Node) -> Tensor:
        """A node's value on all places of all images, (N H W, K)."""
        if node not in self._rows:
            value = self.values[node]
            self._rows[node] = value.movedim(1, -1).flatten(0, -2).contiguous()
        return self._rows[node]

    def once(self, node: Node, form: Callable[[], Tensor]) -> Tensor:
        """What a node's operation forms of its weights, formed when it is first asked for."""
        if node not in self._formed:
            self._formed[node] = form()
        return self._formed[node]


def patch_change(value: Tensor, image: Tensor, top: Tensor, left: Tensor, new: Tensor) -> Change:
    """The change of maps by rectangles of new values.

    Args:
        value: the maps (N, K, H, W).
        image: (P,), index of the image that each patch changes.
        top, left: (P,), place of each rectangle's first corner; it lies within the maps.
        new: the new values, (P, K, h, w).

    Raises:
        UserError: a rectangle reaches beyond the maps.
    """
    height, width = new.shape[2:]
    zero = torch.zeros_like(image)
    regions = Regions((value.shape[2], value.shape[3]), image, top, left, zero + height, zero + width)
    below, right = value.shape[2] - height, value.shape[3] - width
    if ((top < 0) | (left < 0) | (top > below) | (left > right)).any():
        raise UserError(f"a patch of {height} x {width} reaches beyond the maps of {tuple(value.shape[2:])}.")
    old = value[image[regions.patch], :, regions.row, regions.column]
    return Change(regions, new.movedim(1, -1).flatten(0, 2) - old)


def channel_change(value: Tensor, image: Tensor, channel: Tensor) -> Change:
    """The change of maps (N, K, H, W) by setting a channel to zero in each of P patches; image and channel (P,)."""
    maps = value[image, channel]  # (P, H, W)
    regions = _support(maps, image)
    return Change(regions, -maps[regions.patch, regions.row, regions.column][:, None], channel)


def channels_change(value: Tensor, image: Tensor, zeroed: Tensor) -> Change:
    """The change of maps (N, K, H, W) by setting some channels to zero in each of P patches; zeroed (P, K) bool."""
    regions = Regions.whole((value.shape[2], value.shape[3]), image)
    rows = value[image[regions.patch], :, regions.row, regions.column]
    return Change(regions, rows.neg_().mul_(zeroed[regions.patch]))


def _support(maps: Tensor, image: Tensor) -> Regions:
    """The smallest rectangle that holds all that is not zero of each map (P, H, W)."""
    sides = []
    for axis, length in ((2, maps.shape[1]), (1, maps.shape[2])):
        some = (maps != 0).any(axis)
        first = some.int().argmax(1)
        last = length - some.flip(1).int().argmax(1)
        sides += [first, torch.where(some.any(1), last - first, 0)]
    top, height, left, width = sides
    return Regions((maps.shape[1], maps.shape[2]), image, top, left, height, width)
