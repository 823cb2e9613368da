"""Insertion and deletion (RISE, Petsiuk et al. 2018, section 4.3): how fast the score falls as pixels go, or rises.

Pixels are replaced in equal portions in the order of the upsampled map, the most relevant first, ties in reading order.
Deletion goes from the image to a baseline, insertion from a baseline to the image. Both are network input: 0 is the
mean colour, to which RISE deletes; it inserts into the blurred image (`blurred`).
"""

from collections.abc import Callable

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError
from xcnn.metrics.ranking import relevance_rank

__all__ = ["Score", "auc", "blurred", "deletion_curves", "insertion_curves", "scored"]

Score = Callable[[Tensor, Tensor], Tensor]
"""Network input (b, C, H, W), and which of the images each is a version of (b,) -> scores (b,) or (b, ...)."""


def deletion_curves(
    score: Score,
    images: Tensor,
    maps: Tensor,
    baseline: Tensor,
    steps: int = 100,
    batch: int = 64,
    least_relevant_first: bool = False,
) -> Tensor:
    """The score of each image as its pixels are replaced by the baseline's: column k after the share k / steps of them.

    It takes N (steps + 1) passes: column 0 is the image, the last one the baseline.

    Args:
        score: of versions of the images, such as the target's probability.
        images: network input (N, C, H, W).
        maps: (N, h, w).
        baseline: what a pixel becomes, broadcast to the images: 0 for the mean colour, `blurred(images)`, ...
        steps: equal portions of the pixels.
        batch: versions for each call of `score`.
        least_relevant_first: replace in the opposite order, as a control.

    Returns:
        (N, steps + 1), with what else `score` returns after it.

    Raises:
        UserError: shapes do not fit, a map is not finite, or there is no step or no batch.
    """
    return _curves(score, images, baseline.expand_as(images), maps, steps, batch, least_relevant_first)


def insertion_curves(
    score: Score,
    images: Tensor,
    maps: Tensor,
    baseline: Tensor,
    steps: int = 100,
    batch: int = 64,
    least_relevant_first: bool = False,
) -> Tensor:
    """The score of each baseline as its pixels are replaced by the image's: from the baseline to the image.

    Args, Returns, Raises: as `deletion_curves`.
    """
    return _curves(score, baseline.expand_as(images), images, maps, steps, batch, least_relevant_first)


def auc(curves: Tensor, intact: Tensor | None = None) -> Tensor:
    """The area under each curve over the share of replaced pixels, by the trapezoid rule: (N, steps + 1) -> (N,).

    Args:
        curves: with or without further dimensions.
        intact: scores (N,) of the unchanged images, to normalise by: 1 is then the image's own score throughout. NaN
            where one is not above 0.
    """
    area = torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)
    return area if intact is None else area / intact.where(intact > 0, torch.nan)


def blurred(images: Tensor, size: int = 11, sigma: float = 5) -> Tensor:
    """The images (N, C, H, W) under RISE's Gaussian: eclique/RISE, evaluation.py, `gkern(11, 5)`.

    As there, the kernel is a unit impulse of `size` x `size` smoothed within its own bounds, so what would fall outside
    is reflected and the kernel sums to 1; around the image is 0, the mean colour.
    """
    impulse = torch.zeros(size, dtype=torch.float64)
    impulse[size // 2] = 1
    row = torch.from_numpy(gaussian_filter1d(impulse.numpy(), sigma)).to(images)
    kernel = row.expand(images.shape[1], 1, 1, size)
    across = functional.conv2d(images, kernel, padding=(0, size // 2), groups=len(kernel))
    return functional.conv2d(across, kernel.mT, padding=(size // 2, 0), groups=len(kernel))


@torch.inference_mode()
def scored(
    score: Score,
    version: Callable[[Tensor, Tensor], Tensor],
    images: int,
    steps: int,
    batch: int,
    device: torch.device,
) -> Tensor:
    """The score of each image at each step, in batches that run on from one image to the next: (images, steps, ...).

    Args:
        version: image indices (b,) and steps (b,) to network input (b, C, H, W).

    Raises:
        UserError: there is no batch.
    """
    if batch < 1:
        raise UserError(f"batch is {batch}; give at least 1.")
    jobs = torch.arange(images * steps, device=device)
    scores = []
    for part in jobs.split(batch):
        image, step = part // steps, part % steps
        scores.append(score(version(image, step), image))
    return torch.cat(scores).unflatten(0, (images, steps))


def _curves(
    score: Score, start: Tensor, end: Tensor, maps: Tensor, steps: int, batch: int, least_relevant_first: bool
) -> Tensor:
    if steps < 1:
        raise UserError(f"steps is {steps}; give at least 1.")
    rank = ranked_like(start, maps)
    if least_relevant_first:
        rank = rank[0].numel() - 1 - rank
    pixels = torch.linspace(0, rank[0].numel(), steps + 1, dtype=torch.float64, device=rank.device).round()

    def version(image: Tensor, step: Tensor) -> Tensor:
        replaced = rank[image] < pixels[step, None, None]
        return torch.where(replaced[:, None], end[image], start[image])

    return scored(score, version, len(start), steps + 1, batch, start.device)


def ranked_like(images: Tensor, maps: Tensor) -> Tensor:
    """The rank of each image's pixels by its map: int64 (N, H, W).

    Raises:
        UserError: shapes do not fit, or a map is not finite.
    """
    if images.ndim != 4 or len(images) != len(maps):
        raise UserError(f"images are {tuple(images.shape)} and maps {tuple(maps.shape)}; pass (N, C, H, W), (N, h, w).")
    return relevance_rank(maps, images.shape[2:])
