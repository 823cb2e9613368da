"""A batch of images with the network's logits and the classes to explain."""

import copy
from typing import Self

import torch
from torch import Tensor

from xcnn.device import at_least_float32


class Batch:
    """Images, their logits and the classes to explain.

    Args:
        images: network input (N, C, H, W).
        logits: the network's output for them, (N, classes).

    Attributes:
        images: network input (N, C, H, W), not to be changed.
        logits: (N, classes), detached.
        targets: (N,), the classes to explain; the predicted ones until others are set.
        ablations: (N,), number of ablated or masked inputs evaluated for each image, counted by the method.
        again: whether relevance is asked for again, for other targets, so that what the pass kept is not to be freed.
    """

    def __init__(self, images: Tensor, logits: Tensor):
        self.images, self.logits = images, logits.detach()
        self.targets = self.logits.argmax(-1)
        self.ablations = torch.zeros(len(images), dtype=torch.long)
        self.again = False

    def for_targets(self, targets: Tensor, again: bool = False) -> Self:
        """The same pass for other targets (N,).

        Args:
            again: as the attribute.
        """
        other = copy.copy(self)
        other.targets, other.ablations, other.again = targets, torch.zeros_like(self.ablations), again
        return other

    @property
    def score(self) -> Tensor:
        """Y, the target's logit (N,), in float32 or wider."""
        return at_least_float32(self.logits.gather(1, self.targets[:, None])[:, 0])
