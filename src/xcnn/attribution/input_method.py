"""Attribution methods that give the relevance of each input value: signed, at the input's size."""

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.method import Choice, Explanation, Method, Targets, _checked, check_finite, checked_chunk
from xcnn.attribution.probe import SHARE_OF_FREE, free_bytes
from xcnn.device import at_least_float32, full_precision, in_chunks
from xcnn.models.checks import fitting_images

T = TypeVar("T")
# What a pass keeps of an image, over the image's own size: 100 to 200 for torchvision's networks at 224 px.
KEPT = 256
LEAST = 4  # images at a time, however little memory is free: fewer take far more time for each


class InputMethod(Method):
    """A method that gives the relevance of each input value; it implements `record` and `attribute`.

    Args:
        model: network from images (N, C, H, W) to logits (N, classes).
        chunk: number of images at a time; None fits the free memory. Halved where a GPU's memory runs out all the same.
    """

    absolute: ClassVar[bool] = False  # whether a map is the greatest absolute value over the channels, or their sum

    def __init__(self, model: nn.Module, chunk: int | None = None):
        super().__init__(model)
        self.chunk = checked_chunk(chunk)

    @abstractmethod
    def attribute(self, batch: Batch) -> Tensor:
        """Signed relevance (N, C, H, W) for the batch's targets; called without gradients and autocast."""

    def record(self, images: Tensor) -> Batch:
        """The forward pass of the images, with what `attribute` needs of it."""
        return Batch(images, self.network(images))

    def summed(self, batch: Batch, versions: Iterable[Tensor]) -> Tensor:
        """The sum (N, C, H, W) of the relevance of several versions of a batch's images, for the batch's targets.

        A method that can do once what is the same for all versions does; relevance then differs by rounding.

        Args:
            versions: each (N, C, H, W); at least one.
        """

        def relevance(images: Tensor) -> Tensor:
            version = self.record(images)
            version.targets = batch.targets
            return self.attribute(version)

        return functools.reduce(torch.add, map(relevance, versions))

    def reduce(self, relevance: Tensor) -> Tensor:
        """Maps (N, H, W) from relevance (N, C, H, W)."""
        return relevance.abs().amax(1) if self.absolute else relevance.sum(1)

    def maps(self, batch: Batch) -> Tensor:
        return self.reduce(self.attribute(batch))

    def relevance(self, images: Tensor, targets: Targets = None) -> Tensor:
        """Signed relevance (N, C, H, W) of images for the given classes, or the predicted ones; nothing normalised.

        Raises:
            UserError: as for `explain`.
        """
        chosen = _checked(images, targets)

        def found(part: slice) -> Tensor:
            batch = self._batch(images[part], None if chosen is None else chosen[part])
            with full_precision(images.device):
                return at_least_float32(self._finite(self.attribute(batch), "relevance"))

        return torch.cat(self._part_by_part(images, found))

    def every_class(self, images: Tensor) -> Tensor:
        """Relevance for every class at once (N, classes, C, H, W), from one forward pass.

        Raises:
            UserError: as for `explain`.
        """
        _checked(images, None)

        def found(part: slice) -> Tensor:
            batch = self._batch(images[part])
            each, last, every = [], batch.logits.shape[1] - 1, torch.ones_like(batch.targets)
            with full_precision(images.device):
                for target in range(last + 1):
                    chosen = batch.for_targets(target * every, again=target != last)
                    each.append(at_least_float32(self._finite(self.attribute(chosen), "relevance")))
            return torch.stack(each, 1)

        return torch.cat(self._part_by_part(images, found))

    def explain(self, images: Tensor, targets: Targets = None) -> Explanation:
        chosen, explain = _checked(images, targets), super().explain
        return _joined(
            self._part_by_part(images, lambda part: explain(images[part], None if chosen is None else chosen[part]))
        )

    def explain_each(self, images: Tensor, targets: Sequence[Choice]) -> list[Explanation]:
        chosen, explain_each = (
            [one if callable(one) else _checked(images, one) for one in targets],
            super().explain_each,
        )

        def found(part: slice) -> list[Explanation]:
            return explain_each(images[part], [one[part] if isinstance(one, Tensor) else one for one in chosen])

        return [_joined(each) for each in zip(*self._part_by_part(images, found), strict=True)]

    def _batch(self, images: Tensor, targets: Targets = None) -> Batch:
        chosen = _checked(images, targets)
        images = self._prepared(images)
        with full_precision(images.device), fitting_images(images, self.network):
            batch = self.record(images)
        self._set_targets(batch, chosen, batch.logits.isfinite().flatten(1).all(1), "the logits")
        return batch

    def _part_by_part(self, images: Tensor, function: Callable[[slice], T]) -> list[T]:
        """What a function gives of each chunk of a batch; chunks are halved where memory runs out."""
        check_finite(images)
        count = max(1, len(images))
        return in_chunks(count, min(self.chunk or fitting(images), count), function)


def _joined(parts: Sequence[Explanation]) -> Explanation:
    """The explanation of a batch from those of its chunks."""
    if len(parts) == 1:
        return parts[0]
    return Explanation(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Explanation)))


def fitting(images: Tensor) -> int:
    """Number of images of a batch's size that fit the free memory, with all that a pass with a gradient keeps."""
    per_image = images[0].numel() * images.element_size() * KEPT if len(images) else 1
    return max(LEAST, int(free_bytes(images.device) * 4 * SHARE_OF_FREE) // per_image)
