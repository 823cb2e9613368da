"""Attribution methods that ask the network for its logits of altered images, and for nothing inside it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.input_method import fitting
from xcnn.attribution.method import Method, Targets, _checked, check_finite, checked_chunk
from xcnn.device import in_chunks


class BlackBoxMethod(Method):
    """A method whose maps, at the input's size, come from the network's output for altered images.

    Args:
        model: network from images (N, C, H, W) to logits (N, classes).
        chunk: number of altered images that go through the network at a time; None fits the free memory.
    """

    def __init__(self, model: nn.Module, chunk: int | None = None):
        super().__init__(model)
        self.chunk = checked_chunk(chunk)

    def _batch(self, images: Tensor, targets: Targets = None) -> Batch:
        _checked(images, targets)
        check_finite(images)
        return super()._batch(images, targets)

    def altered(self, count: int, alter: Callable[[slice], Tensor], read: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """What `read` takes from the logits of altered images, of which only a chunk exists at a time: (count, ...).

        Args:
            count: number of altered images, at least 1.
            alter: the altered images (n, C, H, W) of a slice of them.
            read: what is kept, (n, ...), of their logits (n, classes), for that slice.
        """
        size = self.chunk or fitting(alter(slice(0, 1)))
        return torch.cat(in_chunks(count, size, lambda part: read(self.network(alter(part)), part)))
