"""Succinctness of a layer's maps (DeConvolve, section 4.2, whose figure goes from 0.85 to 1.00).

The supplement with the paper's algorithm is missing; the main ratio follows the steps of the text, and the alternatives
are other readings of it. With the mask m_k = [a_k > t max a_k] of each map of an image (none for a dead map),

    C(p) = sum_k m_k(p)        W(p) = sum_k m_k(p) a_k(p)        P = {p : C(p) >= count_share max C}

    succinctness = sum of W over P / sum of W.

An image on which no filter fires has no ratio: NaN, left out of the means and counted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from xcnn.device import at_least_float32

__all__ = [
    "combined_maps",
    "succinctness",
    "succinctness_alternatives",
    "succinctness_grid",
    "succinctness_per_image",
]


def _counts(maps: Tensor, peak: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Masks m (N, K, h w) of maps alike with peaks (N, K, 1), and counts C (N, h w)."""
    mask = (maps > threshold * peak) & (peak > 0)
    return mask, mask.sum(1).to(maps.dtype)


def _combine(activations: Tensor, threshold: float, count_share: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps (N, K, h w), masks m alike, counts C (N, h w) and positions P (N, h w) bool; in float32 at least."""
    maps = at_least_float32(activations.flatten(2))
    mask, count = _counts(maps, maps.amax(2, keepdim=True), threshold)
    most = count.amax(1, keepdim=True)
    return maps, mask, count, (count >= count_share * most) & (most > 0)


def combined_maps(
    activations: Tensor, threshold: float = 0.1, count_share: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """The combined matrix of each image, the positions it singles out, and the ratio: section 4.2's steps, to look at.

    Args: as for `succinctness_per_image`.

    Returns:
        counts C (N, h, w), positions P (N, h, w) bool, and the succinctness (N,).
    """
    _, _, count, inside = _combine(activations, threshold, count_share)
    ratio = succinctness_per_image(activations, threshold, count_share)["succinctness"]
    return count.unflatten(1, activations.shape[2:]), inside.unflatten(1, activations.shape[2:]), ratio


def succinctness_per_image(activations: Tensor, threshold: float = 0.1, count_share: float = 0.5) -> dict[str, Tensor]:
    """The ratio and its alternatives for each image; all are NaN for an image on which no filter fires.

    Args:
        activations: post-ReLU maps (N, K, h, w).
        threshold: t, as a share of each map's own maximum.
        count_share: share of the largest count from which a position belongs to P.

    Returns:
        Six tensors (N,), in float32 at least:
        `succinctness`: share of the weight W that lies in P, in (0, 1].
        `count_inside`: share of the counts C that lie in P, in (0, 1].
        `count_inside_to_outside`: counts in P over counts outside it, in (0, inf]: infinite if all are in P.
        `black_positions`: share of the positions that no filter covers, in [0, 1).
        `black_pixels`: mean over filters of the share of a map outside its mask (1 for a dead map), in [0, 1).
        `covered_once`: share of the covered positions that exactly one filter covers, in [0, 1].
    """
    maps, mask, count, inside = _combine(activations, threshold, count_share)
    weight = (maps * mask).sum(1)
    covered = (count > 0).sum(1)
    count_in, count_all = (count * inside).sum(1), count.sum(1)
    nothing = count_all == 0
    ratios = {
        "succinctness": (weight * inside).sum(1) / weight.sum(1),
        "count_inside": count_in / count_all,
        "count_inside_to_outside": count_in / (count_all - count_in),
        "black_positions": (count == 0).to(maps.dtype).mean(1),
        "black_pixels": 1 - mask.to(maps.dtype).mean((1, 2)),
        "covered_once": (count == 1).sum(1).to(maps.dtype) / covered,
    }
    return {name: ratio.masked_fill(nothing, torch.nan) for name, ratio in ratios.items()}


def succinctness_grid(activations: Tensor, thresholds: Sequence[float], count_shares: Sequence[float]) -> Tensor:
    """The ratio for each pair of the two settings that the paper does not give; each mask is formed once.

    Args:
        activations: post-ReLU maps (N, K, h, w).
        thresholds: values of t.
        count_shares: values of the share of the largest count.

    Returns:
        (thresholds, count_shares, N) in (0, 1], in float32 at least; NaN for an image on which no filter fires.
    """
    maps = at_least_float32(activations.flatten(2))
    peak = maps.amax(2, keepdim=True)
    shares = maps.new_tensor(count_shares)[:, None, None]
    ratios = []
    for threshold in thresholds:
        mask, count = _counts(maps, peak, threshold)
        weight = (maps * mask).sum(1)
        inside = count >= shares * count.amax(1, keepdim=True)  # (count_shares, N, h w)
        ratios.append((weight * inside).sum(2) / weight.sum(1))  # 0 / 0 is NaN
    return torch.stack(ratios)


def succinctness(activations: Tensor, threshold: float = 0.1, count_share: float = 0.5) -> float:
    """Mean succinctness of the images on which any filter fires, in (0, 1]; NaN if there is none.

    Args:
        activations: post-ReLU maps (N, K, h, w).
        threshold: as for `succinctness_per_image`.
        count_share: as for `succinctness_per_image`.
    """
    return succinctness_per_image(activations, threshold, count_share)["succinctness"].nanmean().item()


def succinctness_alternatives(
    activations: Tensor, threshold: float = 0.1, count_share: float = 0.5
) -> dict[str, float]:
    """Means, over the images on which any filter fires, of the other readings in `succinctness_per_image`.

    `excluded` is the number of images on which none does; `count_inside_to_outside` is infinite if it is for any image.
    """
    ratios = succinctness_per_image(activations, threshold, count_share)
    excluded = int(ratios.pop("succinctness").isnan().sum())
    return {name: ratio.nanmean().item() for name, ratio in ratios.items()} | {"excluded": float(excluded)}
