"""Localisation by boxes: Grad-CAM's convention (Selvaraju et al. 2017, section 4.1), on ground-truth boxes.

A map is cut at 15 % of its maximum, and a box is drawn around the largest connected segment; the image counts as
localised if that box overlaps one of its ground-truth boxes with an IoU of at least 0.5, ILSVRC's criterion without its
condition on the predicted class. Neither paper nor code of Grad-CAM says when pixels are connected: here also across
corners (8-connectivity), as OpenCV's contours have it, with which CAM (Zhou et al. 2016) and the field's later
benchmark (Choe et al. 2020) draw their boxes.

Boxes are x0, y0, x1, y1 in pixels; x1 and y1 are exclusive edges. An image without ground-truth boxes gives NaN.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.ops import box_iou

from xcnn.errors import UserError
from xcnn.metrics.ranking import at_size

__all__ = ["box_iou_best", "box_mask", "box_masks", "largest_component_box", "localised"]


def box_mask(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """The pixels whose centre is in any of the boxes: (m, 4) -> bool (H, W).

    Raises:
        UserError: boxes are not (m, 4).
    """
    _check(boxes)
    y, x = (torch.arange(length, device=boxes.device) + 0.5 for length in size)
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    columns, rows = (x0 <= x) & (x < x1), (y0 <= y) & (y < y1)
    return (rows[:, :, None] & columns[:, None]).any(0)


def box_masks(boxes: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """The mask of each image's boxes: N tensors (m, 4) -> bool (N, H, W), empty for an image without boxes.

    Raises:
        UserError: boxes are not (m, 4).
    """
    return torch.stack([box_mask(each, size) for each in boxes])


def largest_component_box(maps: Tensor, threshold: float = 0.15) -> Tensor:
    """The box around the largest connected segment of {map > threshold * its maximum}: (N, H, W) -> float32 (N, 4).

    Maps are at their pictures' size, and the boxes in its pixels. Of segments of one size the first in reading order is
    taken. A map with nothing above 0 has no segment, and the empty box 0, 0, 0, 0.

    Raises:
        UserError: maps are not (N, H, W), a map is not finite, or `threshold` is outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise UserError(f"threshold is {threshold}; it is a share of the map's maximum: choose one in [0, 1).")
    maps = at_size(maps, maps.shape[1:])
    marked = (maps > threshold * maps.amax((1, 2), keepdim=True)).cpu().numpy()
    return torch.tensor([_largest(mask) for mask in marked], dtype=torch.float32, device=maps.device).reshape(-1, 4)


def box_iou_best(boxes: Tensor, truth: Sequence[Tensor]) -> Tensor:
    """The IoU of each image's box with the ground-truth box it fits best: (N, 4), N tensors (m, 4) -> (N,) in [0, 1].

    Raises:
        UserError: boxes are not (N, 4), or not as many as there are images.
    """
    _check(boxes)
    if len(boxes) != len(truth):
        raise UserError(f"{len(boxes)} boxes for {len(truth)} images; pass one for each.")
    nothing = boxes.new_full((1,), torch.nan)
    best = [
        box_iou(box, _check(each).to(box)).amax(1) if len(each) else nothing
        for box, each in zip(boxes.split(1), truth, strict=True)
    ]
    return torch.cat(best) if best else boxes.new_empty(0)


def localised(best: Tensor, threshold: float = 0.5) -> Tensor:
    """1 where the best IoU reaches the threshold, 0 where it does not, NaN where there was no box to find: (N,)."""
    return (best >= threshold).to(best.dtype).masked_fill(best.isnan(), torch.nan)


def _check(boxes: Tensor) -> Tensor:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UserError(f"boxes are {tuple(boxes.shape)}; pass (m, 4): x0, y0, x1, y1.")
    return boxes


def _largest(mask: np.ndarray) -> tuple[int, int, int, int]:
    segments, n = ndimage.label(mask, structure=np.ones((3, 3)))
    if not n:
        return 0, 0, 0, 0
    largest = int(np.bincount(segments.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(segments)[largest]
    return columns.start, rows.start, columns.stop, rows.stop
