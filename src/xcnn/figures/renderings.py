"""Pictures for words: a filter's map laid over the image (section 3.4.1, figure 5).

The paper names two, the proportionate heat map and the encircled threshold heat map, and gives no numbers. Ours: images
are drawn at 224 px or more; the map is upsampled bilinearly; the smoothed heat is normalised again before it is
thresholded, so that the threshold is a share of the strongest response whatever the smoothing; the boundary is drawn
outside of the region and leaves its pixels as they are. `literal=True` thresholds heat times image, as the text says.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError

Array = NDArray[np.floating] | Tensor
Floats = NDArray[np.float32]

SIZE = 224
LINE = (1.0, 1.0, 0.2)  # bright, and cased in black, so it shows on any ground
LINE_WIDTH = 2
CASING_WIDTH = 1


def upscale(image: Array, size: int = SIZE) -> Floats:
    """The image (3, H, W) with its shorter side `size` pixels long, bilinearly: (3, size, size) for a square one.

    Raises:
        UserError: it is not one RGB image with values in [0, 1].
    """
    values = as_tensor(image)
    if values.ndim != 3 or values.shape[0] != 3 or not (values.min() >= 0 and values.max() <= 1):
        raise UserError(f"image is {tuple(values.shape)}; pass one RGB image (3, H, W) with values in [0, 1].")
    scale = size / min(values.shape[1:])
    large = _resize(values, (round(values.shape[1] * scale), round(values.shape[2] * scale)))
    return large.clamp(0, 1).numpy()


def heat(activation: Array, size: int | tuple[int, int] = SIZE) -> Floats:
    """A map (h, w) as heat (size, size) or (*size) in [0, 1]: upsampled bilinearly, its minimum 0 and maximum 1.

    A constant map has no contrast to stretch: zeros if it is dead (all zero), ones otherwise.

    Raises:
        UserError: it is not one finite map.
    """
    values = as_tensor(activation)
    if values.ndim != 2 or not values.isfinite().all():
        raise UserError(f"the map is {tuple(values.shape)}; pass one finite map (h, w).")
    return _min_max(_resize(values[None], (size, size) if isinstance(size, int) else size)[0].numpy())


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
    """What a language model is shown: the proportionate and the encircled rendering, (size, size, 3) each."""
    drawn = (proportionate(image, activation), encircled(image, activation))
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


def _resize(values: Tensor, size: tuple[int, ...]) -> Tensor:
    return functional.interpolate(values[None], size=size, mode="bilinear", align_corners=False)[0]


def as_tensor(values: Array) -> Tensor:
    return torch.as_tensor(values).detach().cpu().float()
