"""Adversarial perturbations, to test how stable explanations are: FGSM, PGD and DeepFool.

`logits` is any differentiable function from images (N, C, H, W) to logits (N, classes). Perturbations are returned, not
images; nothing is clipped to a range of values, so that the strengths are exactly what they are said to be.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError

__all__ = ["deepfool", "fgsm", "pgd", "shuffled"]

Logits = Callable[[Tensor], Tensor]


def fgsm(logits: Logits, images: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    """epsilon sign(dL/dx) of the cross-entropy L of the targets (Goodfellow et al. 2015): (N, C, H, W).

    Args:
        logits, images, targets: function, its input, and the classes (N,) to turn away from.
        epsilon: largest change of a value.

    Raises:
        UserError: epsilon is not above 0.
    """
    return _positive("epsilon", epsilon) * _loss_gradient(logits, images, targets).sign()


def pgd(logits: Logits, images: Tensor, targets: Tensor, epsilon: float, steps: int = 10, rate: float = 0.25) -> Tensor:
    """`steps` steps of FGSM, each `rate` times epsilon, within epsilon of the image, where it begins.

    Madry et al. 2018, without their random start.

    Args, Raises: as `fgsm`.
    """
    _positive("epsilon", epsilon)
    _positive("steps", steps)
    found = torch.zeros_like(images)
    for _ in range(steps):
        found = (found + rate * epsilon * _loss_gradient(logits, images + found, targets).sign()).clamp(
            -epsilon, epsilon
        )
    return found


def deepfool(logits: Logits, images: Tensor, candidates: int = 9, steps: int = 50, overshoot: float = 0.02) -> Tensor:
    """To the nearest class boundary in the L2 norm, by repeated linearisation: (N, C, H, W).

    Moosavi-Dezfooli et al. 2016. On an affine classifier it is exact: 1 + overshoot times the distance.

    Args:
        logits, images: function and its input.
        candidates: number of other classes, the likeliest of each image, whose boundaries are looked at.
        steps: linearisations at most; an image that is turned sooner stops.
        overshoot: share by which a boundary is crossed.

    Raises:
        UserError: candidates or steps below 1.
    """
    _positive("candidates", candidates)
    _positive("steps", steps)
    found = torch.zeros_like(images)
    with torch.no_grad():
        scores = logits(images)
        ranked = scores.topk(min(candidates + 1, scores.shape[1]), dim=1).indices
    going = torch.arange(len(images), device=images.device)
    for _ in range(steps):
        with torch.enable_grad():
            start = (images[going] + (1 + overshoot) * found[going]).detach().requires_grad_()
            scores = logits(start)
        still = scores.argmax(1) == ranked[going, 0]
        if not still.any():
            break
        chosen = scores.gather(1, ranked[going])
        slopes = [torch.autograd.grad(each.sum(), start, retain_graph=True)[0] for each in chosen.unbind(1)]
        normals = torch.stack(slopes[1:], 1) - slopes[0][:, None]  # (n, candidates, C, H, W)
        gaps = (chosen[:, :1] - chosen[:, 1:]).detach()
        lengths = normals.flatten(2).norm(dim=2).clamp(min=torch.finfo(normals.dtype).tiny)
        nearest = (gaps / lengths).argmin(1)
        rows = torch.arange(len(going), device=images.device)
        scale = (gaps / lengths.square())[rows, nearest].clamp(min=0)
        step = scale[:, None, None, None] * normals[rows, nearest]
        going, step = going[still], step[still]
        found[going] += step
    return (1 + overshoot) * found


def shuffled(perturbations: Tensor, seed: int = 0) -> Tensor:
    """Noise of the same norms, a control: each image's values at random places with random signs."""
    generator = torch.Generator().manual_seed(seed)
    flat = perturbations.flatten(1)
    found = torch.empty_like(flat)
    for row, values in zip(found, flat, strict=True):
        order = torch.randperm(len(values), generator=generator).to(values.device)
        signs = torch.randint(0, 2, (len(values),), generator=generator).to(values) * 2 - 1
        row.copy_(values[order] * signs)
    return found.view_as(perturbations)


def _loss_gradient(logits: Logits, images: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        start = images.detach().requires_grad_()
        loss = functional.cross_entropy(logits(start), targets, reduction="sum")
        return torch.autograd.grad(loss, start)[0]


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise UserError(f"{name} is {value}; it must be above 0.")
    return value
