"""Localisation: how much of a map falls inside the object's mask.

Maps are upsampled to the mask bilinearly (`align_corners=False`) and clamped at 0 first, so negative evidence never
counts. `energy_inside` is the energy-based pointing game of Score-CAM (Wang et al. 2020); `pointing_game` is that of
Zhang et al. (2018), whose tolerance is 15 pixels; `iou` thresholds at a share of the maximum, 0.15 as Grad-CAM does
(Selvaraju et al. 2017); `top_fraction_overlap` takes a share of the pixels. Where a mask is empty there is nothing to
find, and every measure is NaN.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from xcnn.errors import UserError
from xcnn.metrics.ranking import at_size, relevance_rank


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass that lies inside its mask: (N, h, w), bool (N, H, W) -> (N,) in [0, 1].

    NaN for a map with nothing above 0: it has no mass to place.

    Raises:
        UserError: shapes or dtypes do not fit, or a map is not finite.
    """
    maps = _on_mask(maps, masks)
    return _where_found((maps * masks).sum((1, 2)) / maps.sum((1, 2)), masks)


def pointing_game(maps: Tensor, masks: Tensor, tolerance: float = 0) -> Tensor:
    """Whether each map's maximum lies inside its mask: (N, h, w), bool (N, H, W) -> (N,) in [0, 1].

    Tied maxima count by the share of them inside, so a map that is the same everywhere scores the mask's area: chance.

    Args:
        tolerance: in pixels; a maximum this far from the mask's nearest pixel, centre to centre, is still inside.

    Raises:
        UserError: shapes or dtypes do not fit, a map is not finite, or `tolerance` is negative.
    """
    if not tolerance >= 0:
        raise UserError(f"tolerance is {tolerance}; it is a distance in pixels: choose 0 or more.")
    maps = _on_mask(maps, masks)
    near = _within(tolerance, masks) if tolerance else masks
    # Interpolating between equal values can be off by the last bits, which must not break a tie.
    peaks = maps >= maps.amax((1, 2), keepdim=True) * (1 - 8 * torch.finfo(maps.dtype).eps)
    return _where_found((peaks & near).sum((1, 2)).to(maps.dtype) / peaks.sum((1, 2)), masks)


def iou(maps: Tensor, masks: Tensor, threshold: float = 0.15) -> Tensor:
    """Intersection over union of {map > threshold * its maximum} and the mask: (N, h, w), bool (N, H, W) -> (N,).

    A map with nothing above 0 marks no pixel and scores 0.

    Raises:
        UserError: shapes or dtypes do not fit, a map is not finite, or `threshold` is outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise UserError(f"threshold is {threshold}; it is a share of the map's maximum: choose one in [0, 1).")
    maps = _on_mask(maps, masks)
    return _overlap(maps > threshold * maps.amax((1, 2), keepdim=True), masks, maps.dtype).iou


class Overlap(NamedTuple):
    """How marked pixels and a mask fit, each (N,) in [0, 1].

    Args:
        precision: share of the marked pixels that are inside the mask.
        recall: share of the mask that is marked.
        iou: pixels in both over pixels in either.
    """

    precision: Tensor
    recall: Tensor
    iou: Tensor


def top_fraction_overlap(maps: Tensor, masks: Tensor, fraction: float) -> Overlap:
    """How the top `fraction` of each map's pixels fits its mask: (N, h, w), bool (N, H, W).

    Exactly that share of the pixels is marked, also where a map is 0: ties keep reading order.

    Raises:
        UserError: shapes or dtypes do not fit, a map is not finite, or `fraction` is outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fraction is {fraction}; it is the share of the pixels to mark: choose one in (0, 1].")
    maps = _on_mask(maps, masks)
    size = masks.shape[1:]
    return _overlap(relevance_rank(maps, size) < round(fraction * size.numel()), masks, maps.dtype)


def _overlap(marked: Tensor, masks: Tensor, dtype: torch.dtype) -> Overlap:
    both = (marked & masks).sum((1, 2)).to(dtype)
    sizes = marked.sum((1, 2)), masks.sum((1, 2)), (marked | masks).sum((1, 2))
    return Overlap(*(_where_found(both / size, masks) for size in sizes))


def _where_found(scores: Tensor, masks: Tensor) -> Tensor:
    return scores.masked_fill(~masks.flatten(1).any(1), torch.nan)


def _within(distance: float, masks: Tensor) -> Tensor:
    """The pixels at most this far from each mask's nearest, centre to centre."""
    away = np.stack([distance_transform_edt(~mask) for mask in masks.cpu().numpy()])
    return torch.from_numpy(away <= distance).to(masks.device)


def _on_mask(maps: Tensor, masks: Tensor) -> Tensor:
    """The maps at the masks' size and not below 0, in float32 or wider."""
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise UserError(
            f"maps are {tuple(maps.shape)} and masks {tuple(masks.shape)}; pass maps (N, h, w) with masks (N, H, W)."
        )
    if masks.dtype != torch.bool:
        raise UserError(f"masks are {masks.dtype}; pass booleans, such as masks > 0.")
    return at_size(maps, masks.shape[1:]).clamp(min=0)
