"""Localisation: how much of a map falls inside the object's mask.

Maps are upsampled to the mask bilinearly (`align_corners=False`) and clamped at 0 first, so negative evidence never
counts. `energy_inside` is the energy-based pointing game of Score-CAM (Wang et al. 2020); `pointing_game` is that of
Zhang et al. (2018) without its 15-pixel tolerance; `iou` thresholds at a share of the maximum, 0.15 as Grad-CAM does
(Selvaraju et al. 2017).
"""

import torch
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass that lies inside its mask: (N, h, w), bool (N, H, W) -> (N,) in [0, 1].

    NaN for a map with nothing above 0: it has no mass to place.

    Raises:
        UserError: shapes or dtypes do not fit, or a map is not finite.
    """
    maps = _on_mask(maps, masks)
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether each map's maximum lies inside its mask: (N, h, w), bool (N, H, W) -> (N,) in [0, 1].

    Tied maxima count by the share of them inside, so a map that is the same everywhere scores the mask's area: chance.

    Raises:
        UserError: shapes or dtypes do not fit, or a map is not finite.
    """
    maps = _on_mask(maps, masks)
    # Interpolating between equal values can be off by the last bits, which must not break a tie.
    peaks = maps >= maps.amax((1, 2), keepdim=True) * (1 - 8 * torch.finfo(maps.dtype).eps)
    return (peaks & masks).sum((1, 2)).to(maps.dtype) / peaks.sum((1, 2))


def iou(maps: Tensor, masks: Tensor, threshold: float = 0.15) -> Tensor:
    """Intersection over union of {map > threshold * its maximum} and the mask: (N, h, w), bool (N, H, W) -> (N,).

    A map with nothing above 0 marks no pixel and scores 0; NaN where the mask is empty too.

    Raises:
        UserError: shapes or dtypes do not fit, a map is not finite, or `threshold` is outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise UserError(f"threshold is {threshold}; it is a share of the map's maximum: choose one in [0, 1).")
    maps = _on_mask(maps, masks)
    marked = maps > threshold * maps.amax((1, 2), keepdim=True)
    return (marked & masks).sum((1, 2)).to(maps.dtype) / (marked | masks).sum((1, 2))


def _on_mask(maps: Tensor, masks: Tensor) -> Tensor:
    """The maps at the masks' size and not below 0, in float32 or wider."""
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise UserError(
            f"maps are {tuple(maps.shape)} and masks {tuple(masks.shape)}; pass maps (N, h, w) with masks (N, H, W)."
        )
    if masks.dtype != torch.bool:
        raise UserError(f"masks are {masks.dtype}; pass booleans, such as masks > 0.")
    if not maps.isfinite().all():
        raise UserError("a map holds NaN or infinity; look for the division by zero in the method that made it.")
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    upsampled = functional.interpolate(maps[:, None], size=masks.shape[1:], mode="bilinear", align_corners=False)
    return upsampled[:, 0].clamp(min=0)
