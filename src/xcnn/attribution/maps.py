"""Arithmetic on maps: their size, their range, and division by values that may be zero."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, h, w) at another size (N, H, W), bilinearly, with `align_corners=False`."""
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def normalise(maps: Tensor) -> Tensor:
    """Each map (N, h, w) scaled to [0, 1] by its minimum and maximum; a constant map becomes 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = high - low
    return (maps - low) / span.where(span > 0, 1)


def safe_abs(values: Tensor) -> Tensor:
    """Absolute values as divisors: never 0, so that quotients keep their sign and stay finite."""
    return values.abs().clamp(min=torch.finfo(values.dtype).tiny ** 0.5)
