"""Baselines: the images that stand for the absence of evidence."""

import torch
from torch import Tensor

from xcnn.errors import UserError


def fitting_baselines(baselines: Tensor | None, images: Tensor) -> Tensor:
    """The baselines (B, C, H, W) in the images' type; an image of zeros where there are none.

    Raises:
        UserError: they are of another shape than the images, or hold NaN or infinity.
    """
    if baselines is None:
        return torch.zeros_like(images[:1])
    if not isinstance(baselines, Tensor) or baselines.ndim != 4 or baselines.shape[1:] != images.shape[1:]:
        got = tuple(baselines.shape) if isinstance(baselines, Tensor) else type(baselines).__name__
        raise UserError(
            f"baselines are {got} for images {tuple(images.shape)}; pass (B, {', '.join(map(str, images.shape[1:]))})."
        )
    if not len(baselines) or not baselines.isfinite().all():
        raise UserError("baselines are none, or hold NaN or infinity; pass at least one of finite values.")
    return baselines.detach().to(images)
