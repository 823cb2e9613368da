"""Whether a network is right as often as it is confident (Guo et al. 2017)."""

from typing import NamedTuple

import torch
from torch import Tensor

from xcnn.errors import UserError


class Reliability(NamedTuple):
    """Bins of equal width of the confidence in (0, 1], (bins,) each; means are NaN where a bin is empty.

    Attributes:
        confidence: mean probability of the predicted class.
        accuracy: share that is predicted rightly.
        images: number of images.
    """

    confidence: Tensor
    accuracy: Tensor
    images: Tensor

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over images of |accuracy - confidence| of their bins, in [0, 1]."""
        return float(((self.accuracy - self.confidence).abs() * self.images).nansum() / self.images.sum())


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Confidence and accuracy by bins of confidence.

    Args:
        probabilities: (N, classes), N at least 1.
        labels: (N,).
        bins: number of bins, at least 1.

    Raises:
        UserError: no images, labels that are not one for each, or no bins.
    """
    if bins < 1:
        raise UserError(f"bins is {bins}; 15 are usual, and at least 1 is needed.")
    if not len(probabilities) or labels.shape != probabilities.shape[:1]:
        raise UserError(f"{len(probabilities)} images and labels {tuple(labels.shape)}: give one for each, of some.")
    confidence, predicted = probabilities.double().max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    right = (predicted == labels).double()
    sums = [torch.bincount(place, values, minlength=bins) for values in (confidence, right)]
    return Reliability(sums[0] / count, sums[1] / count, count)
