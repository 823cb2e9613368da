"""Integrated gradients along their path: the error of the sum over points, and what invisible noise changes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xcnn.attribution import IntegratedGradients, Method
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.gallery import correlation
from xcnn.evaluation.image_rows import differences, image_rows, with_intervals
from xcnn.evaluation.subject import Subject
from xcnn.figures import PathRow
from xcnn.report.cells import Cell

METHODS = ("integrated_gradients", "gradient")


def measure_integration(
    cell: Cell, subject: Subject, gradient: Method, steps: Sequence[int], noise: float, seed: int, chunk: int
) -> tuple[dict[str, float], int]:
    """How far the map's sum is from the difference of the scores, and how alike maps are with and without noise.

    Args:
        gradient: the gradient's map, beside that of integrated gradients with the last number of steps.
        steps: numbers of points on the way from black to the image.
        noise: standard deviation of the noise, of images in [0, 1].
        seed: random seed of the noise, which is the same for all images.
        chunk: images whose rows a kill can cost.

    Returns:
        `error/<rule>-<steps>`, relative; `correlation/<method>` of the maps, with the paired difference; intervals are
        over images. And the number of images.
    """

    def columns(batch: PictureBatch) -> dict[str, Tensor]:
        images = subject.scaled(batch)
        inputs, black = subject.normalise(images), subject.normalise(torch.zeros_like(images[:1]))
        generator = torch.Generator().manual_seed(seed)
        shift = noise * torch.randn(images.shape[1:], generator=generator).to(images)
        noisy = subject.normalise((images + shift).clamp(0, 1))
        targets = gradient.logits(inputs).argmax(1)
        apart = score(subject, inputs, targets) - score(subject, black.expand_as(inputs), targets)
        found, last = {}, torch.empty(0)
        for rule in ("riemann", "gauss_legendre"):
            for n in steps:
                relevance = IntegratedGradients(subject.network, n, black, rule).relevance(inputs, targets)
                found[f"error/{rule}-{n}"] = ((relevance.sum((1, 2, 3)) - apart).abs() / apart.abs()).cpu()
                last = relevance.sum(1)
        again = IntegratedGradients(subject.network, steps[-1], black)(noisy, targets)
        found[f"correlation/{METHODS[0]}"] = correlation(last.abs(), again.abs())
        found[f"correlation/{METHODS[1]}"] = correlation(gradient(inputs, targets), gradient(noisy, targets))
        return found

    rows = image_rows(cell, subject, chunk, columns)
    errors = rows[[name for name in rows if str(name).startswith("error/")]]
    own, other = (rows[[f"correlation/{name}"]] for name in METHODS)
    values = with_intervals(errors) | with_intervals(own) | with_intervals(other)
    values |= differences(own, other.set_axis(own.columns, axis=1), f"less_{METHODS[1]}")
    return values, len(rows)


def path(subject: Subject, gradient: Method, image: Tensor, alphas: Tensor, steps: int) -> PathRow:
    """The images on the way from black to an image (3, H, W), the gradient there, and the integral."""
    images = alphas.to(image)[:, None, None, None] * image
    inputs = subject.normalise(images)
    target = gradient.logits(inputs[-1:]).argmax(1)
    confidence = gradient.logits(inputs).softmax(1)[:, int(target)]
    integrated = IntegratedGradients(subject.network, steps, inputs[:1])(inputs[-1:], target)[0]
    maps = torch.cat([gradient(one[None], target) for one in inputs])
    title = subject.classes[int(target)]
    notes = [f"confidence {each:.2f}" for each in confidence.tolist()]
    return PathRow(images.cpu(), maps.cpu(), integrated.cpu(), title, notes)


def score(subject: Subject, inputs: Tensor, targets: Tensor) -> Tensor:
    """The targets' logits (n,)."""
    with torch.no_grad():
        found: Tensor = subject.network(inputs).gather(1, targets[:, None])[:, 0]
    return found
