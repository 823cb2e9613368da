"""Activation maps of filters by gradient ascent (DeConvolve, section 3.3): where a filter must fire to favour a class.

The paper ascends "on the inputs to the filter" with the class activation as the objective and says no more. We read:
the input is that of the sub-model after the layer, filter k's map is optimised while the others are zero, and the
objective is the class's logit minus a total-variation and an L2 term. Each step changes a map by at most `step_size`
anywhere (the gradient is divided by its largest magnitude), the step shrinks linearly to 0, and maps stay in [0, 1].

`maximise_images` ascends on the images instead, as is usual (Erhan et al. 2009; Yosinski et al. 2015), with jitter,
blur and a total-variation term.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from xcnn.errors import UserError
from xcnn.models.split import split_at

__all__ = ["MaximisedImages", "activation_maps", "maximise_images", "total_variation"]

STARTS = (64, 0.2)  # images of noise to start from, and the range of values of the first; that of the last is 1
PATCH = 4  # pixels from one random value of that noise to the next, which a blur leaves


class MaximisedImages(NamedTuple):
    """Images (F, C, H, W) in [0, 1] for F filters, and what each filter reaches on its own: the largest activation."""

    images: Tensor
    activation: Tensor


def total_variation(maps: Tensor) -> Tensor:
    """Mean absolute difference between neighbours, down plus across: (..., h, w) to (...); 0 for a uniform map."""
    down, across = maps.diff(dim=-2).abs(), maps.diff(dim=-1).abs()
    return sum((d.mean((-2, -1)) for d in (down, across) if d.numel()), maps.new_zeros(maps.shape[:-2]))


def activation_maps(
    model: nn.Module,
    layer: str,
    target_class: int,
    input_size: Sequence[int] = (3, 32, 32),
    steps: int = 64,
    step_size: float = 0.1,
    tv: float = 0.1,
    l2: float = 0.01,
    seed: int = 0,
    batch_size: int = 128,
) -> Tensor:
    """The map of each filter that maximises one class's logit while the other filters are silent; image-agnostic.

    Where a global average pooling follows the layer directly, the logit's gradient is the same at all locations and the
    map comes out uniform: 1 for filters with a positive weight, 0 for the others. Such a map shows a sign and no place.
    Filters whose weight w is small against the total-variation term, |w| < tv h w' / (h (w' - 1)) on maps (h, w'), need
    more steps: the term's gradient does not shrink as neighbours come closer, so they jump past each other, and what is
    uneven in their maps is left over from the start.

    Args:
        model: a network of images to logits; left as it is, and run in evaluation mode.
        layer: qualified name of the layer whose maps are optimised.
        target_class: index of the class.
        input_size: (C, H, W) of the network's images.
        steps: number of ascent steps.
        step_size: largest change of a pixel in the first step.
        tv: weight of `total_variation`, against a logit.
        l2: weight of the mean squared value, against a logit.
        seed: of the maps' start, uniform in [0, 1); the same on every device.
        batch_size: filters optimised at a time.

    Returns:
        (filters, h, w) in [0, 1].

    Raises:
        UserError: the network cannot be cut there, the layer gives no maps, or there is no such class.
    """
    split = split_at(model, layer)
    with torch.inference_mode(False), torch.enable_grad():
        weight = next(model.parameters(), torch.zeros(())).detach()
        features = split.trunk(weight.new_zeros(1, *input_size)).detach()
        if features.ndim != 4:
            raise UserError(f"layer {layer!r} gives {tuple(features.shape[1:])} per image, not maps (filters, h, w).")
        n_classes = split.head(features).shape[1]
        if not 0 <= target_class < n_classes:
            raise UserError(f"there is no class {target_class}: the network has classes 0 to {n_classes - 1}.")
        start = torch.rand(features.shape[1:], generator=torch.Generator().manual_seed(seed)).to(features)
        one_hot = torch.eye(len(start), dtype=start.dtype, device=start.device)[:, :, None, None]

        def ascend(maps: Tensor, channel: Tensor) -> Tensor:
            for step in range(steps):
                maps = maps.requires_grad_()
                logits = split.head(channel * maps[:, None])[:, target_class]
                objective = logits - tv * total_variation(maps) - l2 * maps.square().mean((1, 2))
                (gradient,) = torch.autograd.grad(objective.sum(), maps)
                largest = gradient.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
                stride = step_size * (1 - step / steps)
                maps = (maps.detach() + stride * gradient / largest).clamp(0, 1)
            return maps

        parts = zip(start.split(batch_size), one_hot.split(batch_size), strict=True)
        return torch.cat([ascend(maps, channel) for maps, channel in parts])


def maximise_images(
    model: nn.Module,
    layer: str,
    filters: Sequence[int],
    input_size: Sequence[int] = (3, 32, 32),
    normalise: Callable[[Tensor], Tensor] = nn.Identity(),  # noqa: B008  # without parameters or state
    steps: int = 128,
    step_size: float = 0.1,
    jitter: int = 2,
    blur: float = 0.5,
    blur_every: int = 4,
    tv: float = 0.5,
    seed: int = 0,
    batch_size: int = 32,
) -> MaximisedImages:
    """Images in which filters are as active as gradient ascent can make them, at the middle of their maps.

    Each step shifts the image by a few pixels, climbs the activation minus a total-variation term by at most
    `step_size` for any pixel (the gradient is divided by its largest magnitude; the step shrinks linearly to 0), and
    clips to [0, 1]. A filter that is silent has no gradient: it starts from the first of several images of smooth
    noise, of rising contrast, on which it is active, and goes back towards it where a blur silences it.

    Args:
        model: a network of images to logits; left as it is, and run in evaluation mode.
        layer: qualified name of a layer with maps.
        filters: indices of the filters.
        input_size: (C, H, W) of the network's images.
        normalise: images in [0, 1] to the network's input.
        steps: number of ascent steps.
        step_size: largest change of a pixel in the first step, of values in [0, 1].
        jitter: largest shift in pixels, up or down and sideways; 0 for none.
        blur: standard deviation in pixels of a Gaussian blur; 0 for none.
        blur_every: steps from one blur to the next; none in the last quarter of the steps.
        tv: weight of `total_variation`, mean over channels, against the activation's own magnitude; 0 for none.
        seed: random seed of the starts, noise around grey, and of the shifts; the same on every device.
        batch_size: filters whose images are optimised at a time.

    Raises:
        UserError: the network cannot be cut there, the layer gives no maps, or there is no such filter.
    """
    split = split_at(model, layer)
    weight = next(model.parameters(), torch.zeros(())).detach()
    with torch.inference_mode(False), torch.enable_grad():
        size = split.trunk(normalise(weight.new_zeros(1, *input_size))).shape
        if len(size) != 4:
            raise UserError(f"layer {layer!r} gives {tuple(size[1:])} per image, not maps (filters, h, w).")
        if missing := [index for index in filters if not 0 <= index < size[1]]:
            raise UserError(f"there is no filter {missing[0]}: layer {layer!r} has filters 0 to {size[1] - 1}.")
        middle = (size[2] // 2, size[3] // 2)
        generator = torch.Generator().manual_seed(seed)
        contrast = torch.linspace(STARTS[1], 1, STARTS[0])[:, None, None, None]
        channels, height, width = input_size
        coarse = torch.rand(STARTS[0], channels, -(-height // PATCH), -(-width // PATCH), generator=generator)
        blobs = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        starts = (0.5 + contrast * (blobs - 0.5)).to(weight)
        shifts = torch.randint(-jitter, jitter + 1, (steps, 2), generator=generator).tolist()
        with torch.no_grad():
            active = split.trunk(normalise(starts))[:, :, middle[0], middle[1]] > 0  # (starts, filters)
        first = active.int().argmax(0)  # 0 where a filter is silent on all

        def ascend(which: Tensor) -> Tensor:
            images = own = starts[first[which]]
            for step, shift in enumerate(shifts):
                shifted = images.roll(shift, (2, 3)).requires_grad_()
                activation = split.trunk(normalise(shifted))[torch.arange(len(which)), which, middle[0], middle[1]]
                rough = total_variation(shifted).mean(1)
                objective = activation - tv * activation.detach().abs() * rough
                (gradient,) = torch.autograd.grad(objective.sum(), shifted)
                gradient = gradient.roll([-shift[0], -shift[1]], (2, 3))
                largest = gradient.abs().amax((1, 2, 3), keepdim=True)
                uphill = gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)
                images = images.lerp(own, step_size * (largest == 0)) + step_size * (1 - step / steps) * uphill
                images = images.clamp(0, 1)
                if blur and step % blur_every == 0 and step < 0.75 * steps:
                    images = gaussian_blur(images, [2 * round(2 * blur) + 1] * 2, [blur, blur])
            return images

        indices = torch.as_tensor(list(filters), device=weight.device)
        images = torch.cat([ascend(part) for part in indices.split(batch_size)])
        with torch.no_grad():
            parts = zip(images.split(batch_size), indices.split(batch_size), strict=True)
            reached = [
                split.trunk(normalise(part))[torch.arange(len(which)), which].amax((1, 2)) for part, which in parts
            ]
        return MaximisedImages(images, torch.cat(reached))
