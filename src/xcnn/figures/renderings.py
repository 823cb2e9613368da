"""Pictures for words: a filter's map laid over the image (section 3.4.1, figure 5).

The paper names two, the proportionate heat map and the encircled threshold heat map, and gives no numbers. Ours: images
are drawn at 224 px or more; the map is upsampled bilinearly; the smoothed heat is normalised again before it is
thresholded, so that the threshold is a share of the strongest response whatever the smoothing; the boundary is drawn
outside of the region and leaves its pixels as they are. `literal=True` thresholds heat times image, as the text says.

Replies of a language model are kept by the pixels that it was shown, so that these must not depend on the machine:
the interpolation is elementwise, where torch's rounds by the number of threads and the processor.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from xcnn.errors import UserError

Array = NDArray[np.floating] | Tensor
Floats = NDArray[np.float32]

SIZE = 224
LINE = (1.0, 1.0, 0.2)  # bright, and cased in black, so it shows on any ground
LINE_WIDTH = 2
CASING_WIDTH = 1
HEAT_LEVELS = 255  # of a map that is shown to a language model


def upscale(image: Array, size: int = SIZE) -> Floats:
    """The image (3, H, W) with its shorter side `size` pixels long, bilinearly: (3, size, size) for a square one.

    Raises:
        UserError: it is not one RGB image with values in [0, 1].
    """
    values = as_tensor(image)
    if values.ndim != 3 or values.shape[0] != 3 or not (values.min() >= 0 and values.max() <= 1):
        raise UserError(f"image is {tuple(values.shape)}; pass one RGB image (3, H, W) with values in [0, 1].")
    scale = size / min(values.shape[1:])
    large = _resize(values.numpy(), (round(values.shape[1] * scale), round(values.shape[2] * scale)))
    return large.clip(0, 1)


def heat(activation: Array, size: int | tuple[int, int] = SIZE) -> Floats:
    """A map (h, w) as heat (size, size) or (*size) in [0, 1]: upsampled bilinearly, its minimum 0 and maximum 1.

    A constant map has no contrast to stretch: zeros if it is dead (all zero), ones otherwise.

    Raises:
        UserError: it is not one finite map.
    """
    values = as_tensor(activation)
    if values.ndim != 2 or not values.isfinite().all():
        raise UserError(f"the map is {tuple(values.shape)}; pass one finite map (h, w).")
    return _min_max(_resize(values.numpy(), (size, size) if isinstance(size, int) else size))


def proportionate(image: Array, activation: Array, size: int = SIZE) -> Floats:
    """Image (3, H, W) times the heat of a map (h, w): (3, size, size) in [0, 1], each pixel as opaque as it is hot."""
    large = upscale(image, size)
    return large * heat(activation, large.shape[1:])


def encircled(
    image: Array,
    activation: Array,
    threshold: float = 0.5,
    sigma: float = 6.0,
    literal: bool = False,
    size: int = SIZE,
) -> Floats:
    """Image (3, H, W) with the hot region of a map (h, w) encircled: (3, size, size) in [0, 1].

    A dead map encircles nothing; neither does one that is hot everywhere, since the boundary lies outside the region.

    Args:
        image: sRGB in [0, 1].
        activation: the map.
        threshold: share of the smoothed heat's maximum from which a pixel belongs to the region, in (0, 1].
        sigma: standard deviation of the Gaussian, in pixels of the result.
        literal: threshold smoothed heat times image (mean over channels, relative to its maximum) and not the heat.
        size: pixels of the shorter side.
    """
    large = upscale(image, size)
    smoothed = _min_max(ndimage.gaussian_filter(heat(activation, large.shape[1:]), sigma, mode="nearest"))
    if literal:
        smoothed = smoothed * large.mean(0)
        smoothed /= max(float(smoothed.max()), np.finfo(np.float32).tiny)
    return encircle(large, smoothed >= threshold)


def evidence_pictures(image: Array, activation: Array) -> list[NDArray[np.uint8]]:
    """What a language model is shown: the proportionate and the encircled rendering, (size, size, 3) each.

    The map is rounded to `HEAT_LEVELS` steps between its minimum and maximum, so that two computations of the same map,
    which differ in their last digits, are shown by the same pixels, but for a value on the very edge of a step.
    """
    steps = np.round(_min_max(as_tensor(activation).numpy()) * HEAT_LEVELS)
    drawn = (proportionate(image, steps), encircled(image, steps))
    return [np.ascontiguousarray((picture * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)) for picture in drawn]


def encircle(image: Floats, region: NDArray[np.bool_]) -> Floats:
    """A copy of the image (3, H, W) with a line around a region (H, W), in the pixels just outside of it."""
    if not region.any():
        return image.copy()
    distance = ndimage.distance_transform_edt(~region)  # to the nearest pixel of the region
    drawn = image.copy()
    drawn[:, (distance > LINE_WIDTH) & (distance <= LINE_WIDTH + CASING_WIDTH)] = 0
    drawn[:, (distance > 0) & (distance <= LINE_WIDTH)] = np.array(LINE, dtype=image.dtype)[:, None]
    return drawn


def _min_max(values: Floats) -> Floats:
    low, high = values.min(), values.max()
    if high - low <= 1e-6 * max(abs(high), abs(low)):  # constant, but for the rounding of an interpolation
        return np.full_like(values, float(high != 0))
    return (values - low) / (high - low)


def _resize(values: Floats, size: tuple[int, int]) -> Floats:
    """Values (..., h, w) interpolated bilinearly to `size`, corners not aligned; + - * / alone, one value at a time."""
    (above, below, down), (left, right, across) = map(_neighbours, values.shape[-2:], size)
    upper, lower = values[..., above, :], values[..., below, :]
    rows = upper + (lower - upper) * down[:, None]
    first, second = rows[..., left], rows[..., right]
    return first + (second - first) * across


def _neighbours(cells: int, pixels: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each pixel of an axis the two cells that it lies between, and how far it is from the first to the second."""
    place = ((np.arange(pixels) + 0.5) * (cells / pixels) - 0.5).clip(0, cells - 1)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, cells - 1), (place - first).astype(np.float32)


def as_tensor(values: Array) -> Tensor:
    return torch.as_tensor(values).detach().cpu().float()
