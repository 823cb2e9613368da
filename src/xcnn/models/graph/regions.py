"""Rectangles of places on feature maps, one for each patch, and how windows (convolutions, poolings) spread them."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Regions", "Window"]


@dataclass(frozen=True, eq=False)
class Regions:
    """A rectangle of each of P patches on maps of one size; its places are listed row by row, patch after patch.

    Values on the R places of all rectangles are rows (R, K). A rectangle may be empty.

    Attributes:
        size: height and width of the maps.
        image: (P,), index of each patch's image.
        top, left, height, width: (P,), the rectangles, within the maps.
    """

    size: tuple[int, int]
    image: Tensor
    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def whole(cls, size: tuple[int, int], image: Tensor) -> "Regions":
        """The whole map for every patch; maps of 1 x 1 stand for vectors too."""
        zero = torch.zeros_like(image)
        return cls(size, image, zero, zero, zero + size[0], zero + size[1])

    def __len__(self) -> int:
        return len(self.image)

    @functools.cached_property
    def _counts(self) -> Tensor:
        return self.height * self.width

    @functools.cached_property
    def _starts(self) -> Tensor:
        return self._counts.cumsum(0) - self._counts

    @functools.cached_property
    def patch(self) -> Tensor:
        """(R,), the patch of each place."""
        return torch.arange(len(self), device=self.image.device).repeat_interleave(self._counts)

    @functools.cached_property
    def _within(self) -> Tensor:
        return torch.arange(len(self.patch), device=self.image.device) - self._starts[self.patch]

    @functools.cached_property
    def row(self) -> Tensor:
        """(R,), the vertical coordinate of each place."""
        return self.top[self.patch] + self._within // self.width[self.patch]

    @functools.cached_property
    def column(self) -> Tensor:
        """(R,), the horizontal coordinate of each place."""
        return self.left[self.patch] + self._within % self.width[self.patch]

    @functools.cached_property
    def spot(self) -> Tensor:
        """(R,), index of each place among the H W places of a map."""
        return self.row * self.size[1] + self.column

    @functools.cached_property
    def place(self) -> Tensor:
        """(R,), index of each place among the N H W places of all images."""
        return self.image[self.patch] * (self.size[0] * self.size[1]) + self.spot

    def index(self, patch: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Index among this one's R places of places of patches, which broadcast; -1 outside the rectangles."""
        row, column = row - self.top[patch], column - self.left[patch]
        inside = (row >= 0) & (row < self.height[patch]) & (column >= 0) & (column < self.width[patch])
        return torch.where(inside, self._starts[patch] + row * self.width[patch] + column, -1)

    def same(self, other: "Regions") -> bool:
        """Whether the rectangles are equal."""
        return self is other or all(
            torch.equal(getattr(self, side), getattr(other, side)) for side in ("top", "left", "height", "width")
        )

    def union(self, other: "Regions") -> "Regions":
        """The smallest rectangles that hold those of both; one of the two where it holds the other."""
        if self.same(other):
            return self
        top, height = _hull(self.top, self.height, other.top, other.height)
        left, width = _hull(self.left, self.width, other.left, other.width)
        both = Regions(self.size, self.image, top, left, height, width)
        return next((found for found in (self, other) if found.same(both)), both)


@dataclass(frozen=True)
class Window:
    """The window of a convolution or pooling, (vertical, horizontal); `padding` is that above and to the left."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def pointwise(self) -> bool:
        """Whether an output depends on the input at its own place alone."""
        return self.kernel == self.stride == (1, 1) and self.padding == (0, 0)

    def reached(self, regions: Regions, size: tuple[int, int]) -> Regions:
        """The outputs, on maps of `size`, whose windows hold a place of the regions."""
        top, height = self._reached(regions.top, regions.height, size, 0)
        left, width = self._reached(regions.left, regions.width, size, 1)
        return Regions(size, regions.image, top, left, height, width)

    def _reached(self, start: Tensor, length: Tensor, size: tuple[int, int], axis: int) -> tuple[Tensor, Tensor]:
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        span = self.dilation[axis] * (kernel - 1)
        # o stride - padding + dilation t lies in [start, start + length) for a tap t of 0..kernel - 1
        first = -((span - padding - start) // stride)
        last = (start + length - 1 + padding) // stride
        first = first.clamp(0, size[axis] - 1)
        last = last.clamp(max=size[axis] - 1)
        return first, torch.where(length > 0, (last - first + 1).clamp(min=0), 0)

    def pairs(self, inputs: Regions, outputs: Regions) -> Iterator[tuple[int, int, Tensor | None, Tensor]]:
        """For each tap (i, j): the inputs it reads, None for all of them, and the outputs that it adds them to.

        Args:
            inputs: regions of the input.
            outputs: regions of the output that hold all that the inputs reach.
        """
        rows, columns = self._targets(inputs.row, outputs.size, 0), self._targets(inputs.column, outputs.size, 1)
        for i, (row, in_rows) in enumerate(rows):
            for j, (column, in_columns) in enumerate(columns):
                valid = in_rows & in_columns
                if valid.all():
                    yield i, j, None, outputs.index(inputs.patch, row, column)
                    continue
                source = valid.nonzero()[:, 0]
                yield i, j, source, outputs.index(inputs.patch[source], row[source], column[source])

    def _targets(self, coordinate: Tensor, size: tuple[int, int], axis: int) -> list[tuple[Tensor, Tensor]]:
        """For each tap along an axis: the output's coordinate, and whether there is such an output."""
        found = []
        for tap in range(self.kernel[axis]):
            shifted = coordinate + self.padding[axis] - self.dilation[axis] * tap
            target = shifted // self.stride[axis]
            exists = (shifted % self.stride[axis] == 0) & (target >= 0) & (target < size[axis])
            found.append((target, exists))
        return found

    def sources(self, outputs: Regions, size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each tap: the input's coordinates for every output place, and whether they lie on the map of `size`."""
        for i in range(self.kernel[0]):
            row = outputs.row * self.stride[0] - self.padding[0] + self.dilation[0] * i
            for j in range(self.kernel[1]):
                column = outputs.column * self.stride[1] - self.padding[1] + self.dilation[1] * j
                yield row, column, (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])

    def read(self, inputs: Regions, outputs: Regions, part: slice) -> Tensor:
        """Index among the inputs' places of what each tap of some outputs reads, (R, kh, kw); -1 outside of them."""
        patch, device = outputs.patch[part, None, None], inputs.image.device
        taps = [
            dilation * torch.arange(k, device=device) for dilation, k in zip(self.dilation, self.kernel, strict=True)
        ]
        row = outputs.row[part, None, None] * self.stride[0] - self.padding[0] + taps[0][:, None]
        column = outputs.column[part, None, None] * self.stride[1] - self.padding[1] + taps[1]
        return inputs.index(patch, row, column)

    def counts(self, size: tuple[int, int], outputs: tuple[int, int], device: torch.device) -> Tensor:
        """Number of inputs, of a map of `size`, in the window of each output, as a map of size `outputs`."""
        sides = []
        for axis in (0, 1):
            start = torch.arange(outputs[axis], device=device)[:, None] * self.stride[axis] - self.padding[axis]
            inside = start + self.dilation[axis] * torch.arange(self.kernel[axis], device=device)
            sides.append(((inside >= 0) & (inside < size[axis])).sum(1))
        return sides[0][:, None] * sides[1]


def _hull(start: Tensor, length: Tensor, other_start: Tensor, other_length: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest interval that holds two, of which one may be empty."""
    first = torch.where(
        length == 0, other_start, torch.where(other_length == 0, start, torch.minimum(start, other_start))
    )
    last = torch.maximum(
        torch.where(length == 0, first, start + length),
        torch.where(other_length == 0, first, other_start + other_length),
    )
    return first, last - first
