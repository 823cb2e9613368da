"""What a surrogate sees of an image: the network's last features, distances to prototypes, or pixels.

A view is made of a subject (a network with its data's preparation) and maps bytes (N, C, H, W) to rows (N, D) in
float32 on the CPU; `names` says what each column is.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcnn.device import full_precision
from xcnn.errors import UserError
from xcnn.models.split import split_at


class Explained(Protocol):
    """The subject that a surrogate stands in for, as `xcnn.evaluation.Subject` has it."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def batch(self) -> int: ...
    @property
    def method(self) -> Any: ...
    @property
    def prepare(self) -> Callable[[Tensor], Tensor]: ...
    def autocast(self) -> torch.autocast: ...


class View(Protocol):
    """What a surrogate sees. `names` has one for each column."""

    @property
    def names(self) -> Sequence[str]: ...
    def __call__(self, images: Tensor) -> Tensor: ...


class LastFeatures:
    """Means over locations of the feature maps of a layer.

    Args:
        subject: the network.
        layer: name of the layer; the one before the pooling, whose means the classifier weighs.
    """

    def __init__(self, subject: Explained, layer: str):
        self.subject, self.layer, self._split = subject, layer, split_at(subject.network, layer)
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> Sequence[str]:
        if not self._names:
            raise UserError("the number of filters is known once images were seen: call the view first.")
        return self._names

    def __call__(self, images: Tensor) -> Tensor:
        rows = _in_parts(lambda part: self._split.trunk(part).mean((2, 3)), self.subject, images)
        self._names = tuple(f"filter {index}" for index in range(rows.shape[1]))
        return rows

    def decided(self, rows: Tensor) -> Tensor:
        """Classes (N,) that the rest of the network gives to rows (N, D), as maps of one location."""
        with full_precision(self.subject.device):
            return self._split.head(rows[:, :, None, None].to(self.subject.device)).argmax(1).cpu()


class PrototypeDistances:
    """Distances to the prototypes of KMEx, several for each class.

    Args:
        subject: a network with fitted `KMEx` as its method.

    Raises:
        UserError: there are no prototypes, or they are not KMEx's.
    """

    def __init__(self, subject: Explained):
        book = getattr(subject.method, "codebook", None)
        if book is None or not hasattr(subject.method, "explain_embeddings"):
            raise UserError("this view needs the prototypes of KMEx: choose prototypes=kmex.")
        self.subject = subject
        per_class = book.per_class
        self.names: Sequence[str] = tuple(
            f"distance to {name} {place + 1}" for name in subject.classes for place in range(per_class)
        )

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        with self.subject.autocast():
            parts = [self.subject.method.explain(part).log_similarity for part in images.split(self.subject.batch)]
        return torch.cat(parts).neg().clamp(min=0).sqrt().float().cpu()


class Pixels:
    """Pixels in [0, 1], of images reduced to a side.

    Args:
        subject: unused, as nothing is seen of the network.
        side: side in pixels that images are reduced to, by averaging; None keeps theirs.
    """

    def __init__(self, subject: Explained, side: int | None = None):
        if side is not None and side < 1:
            raise UserError(f"side must be at least 1 pixel, or null for the image's own, not {side}.")
        self.side = side
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> Sequence[str]:
        if not self._names:
            raise UserError("the number of pixels is known once images were seen: call the view first.")
        return self._names

    def __call__(self, images: Tensor) -> Tensor:
        rows = images.float() / 255
        if self.side is not None and self.side < min(rows.shape[2:]):
            rows = F.adaptive_avg_pool2d(rows, self.side)
        channels = ("red", "green", "blue") if rows.shape[1] == 3 else tuple(map(str, range(rows.shape[1])))
        self._names = tuple(
            f"{channel} at row {row}, column {column}"
            for channel in channels
            for row in range(rows.shape[2])
            for column in range(rows.shape[3])
        )
        return rows.flatten(1)


def decisions(subject: Explained, images: Tensor) -> Tensor:
    """Classes (N,) that the network predicts of bytes (N, C, H, W), on the CPU."""
    return logits(subject, images).argmax(1)


def logits(subject: Explained, images: Tensor) -> Tensor:
    """Logits (N, classes) in float32, on the CPU."""
    return _in_parts(subject.network, subject, images)


@torch.inference_mode()
def _in_parts(compute: Callable[[Tensor], Tensor], subject: Explained, images: Tensor) -> Tensor:
    """`compute` of the network's input, in parts of the subject's batch, in its precision."""
    parts = []
    for part in images.split(subject.batch):
        with subject.autocast():
            parts.append(compute(subject.prepare(part.to(subject.device))).float().cpu())
    return torch.cat(parts).clone()
