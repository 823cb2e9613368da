"""The call that every method shares: a network, a layer, images, targets; one map an image."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcnn.attribution.probe import Probe
from xcnn.device import wide
from xcnn.errors import UserError
from xcnn.models.entrance import entrance
from xcnn.models.split import split_at

Targets = Tensor | Sequence[int] | int | None


@dataclass(frozen=True)
class Explanation:
    """Maps and what was found on the way.

    Attributes:
        maps: (N, h, w), float32 (float64 for a network in float64), not normalised.
        targets: (N,), the classes explained.
        logits: (N, classes) of the images.
        nonpositive: (N,), whether the target's logit is not above 0, where a share of it says little: drops are then
            divided by its absolute value, so that they keep their sign.
        ablations: (N,), how many ablations were asked of the head.
    """

    maps: Tensor
    targets: Tensor
    logits: Tensor
    nonpositive: Tensor
    ablations: Tensor


class Method(ABC):
    """A network cut at a layer; `method(images, targets)` gives maps (N, h, w).

    A method of one's own says in `attribute` what it makes of a `Probe`. The network is run in evaluation mode and left
    as it is: mode, hooks, gradients, weights and buffers. Safe to call from several threads.

    Args:
        model: images (N, C, H, W) to logits (N, classes).
        layer: qualified name of a layer that one tensor cuts.
        chunk: ablated features that go through the head at a time; None fits the memory there is.

    Raises:
        UserError: the network cannot be cut there (names the nearest layers that can be).
    """

    uses_gradient: ClassVar[bool] = False  # whether `attribute` asks for the probe's gradient

    def __init__(self, model: nn.Module, layer: str, chunk: int | None = None):
        if chunk is not None and chunk < 1:
            raise UserError(f"chunk must be at least 1, not {chunk}; None fits the memory there is.")
        self.layer, self.chunk = layer, chunk
        self.split = split_at(model, layer)
        self.entrance = entrance(self.split)

    @abstractmethod
    def attribute(self, probe: Probe) -> Tensor:
        """Maps (N, h, w) of the probe's images for its targets. Runs without gradients."""

    def __call__(self, images: Tensor, targets: Targets = None) -> Tensor:
        """Maps (N, h, w) of images (N, C, H, W) for the given classes, or the predicted ones.

        Raises:
            UserError: as for `explain`.
        """
        return self.explain(images, targets).maps

    def explain(self, images: Tensor, targets: Targets = None) -> Explanation:
        """Maps, and the logits, targets and counts behind them.

        Args:
            images: (N, C, H, W), as the network takes them.
            targets: a class for each image, one for all, or None for the predicted classes.

        Raises:
            UserError: images or targets of a wrong shape or type, a class that the network does not have, or
                activations that are not finite.
        """
        probe = self.probe(images, targets)
        with precisely(images.device):
            maps = self.attribute(probe).to(probe.score.dtype)
        if not maps.isfinite().all():
            raise UserError(f"{type(self).__name__} gave a map with NaN or infinity at layer {self.layer!r}.")
        return Explanation(maps, probe.targets, probe.logits, probe.score <= 0, probe.ablations)

    def logits(self, images: Tensor) -> Tensor:
        """The network's logits (N, classes), in the precision in which `explain` gives them."""
        features = self._features(images)
        with precisely(images.device):
            return self.split.head(features)

    def probe(self, images: Tensor, targets: Targets = None) -> Probe:
        """The images at the cut, with everything checked.

        Under the caller's autocast the trunk runs in its precision, and all that follows in the weights' own: an
        ablation takes little from a score, and half precisions would lose it.

        Raises:
            UserError: as for `explain`.
        """
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
            got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise UserError(f"images are {got}; pass a float tensor (N, C, H, W), normalised as the network needs.")
        with torch.inference_mode(False):  # a tensor made in that mode could not be saved for a gradient
            chosen = None if targets is None else _classes(targets, len(images)).to(images.device, copy=True)
        features = self._features(images)
        if features.ndim != 4:
            raise UserError(
                f"layer {self.layer!r} gives {tuple(features.shape)}, not maps (N, K, h, w): cut before the pooling."
            )
        with precisely(images.device):
            probe = Probe(self.split, self.entrance, images, features, self.uses_gradient, self.chunk)
        if probe.logits.ndim != 2:
            raise UserError(f"the network's output has shape {tuple(probe.logits.shape)}; (N, classes) is needed.")
        finite = probe.logits.isfinite().all(1) & features.isfinite().flatten(1).all(1)
        if not finite.all():
            named = ", ".join(str(index) for index in (~finite).nonzero()[:10, 0].tolist())
            raise UserError(
                f"NaN or infinity in the activations at {self.layer!r} or in the logits, for image(s) {named} of the "
                "batch. Look at those images, the weights and the precision."
            )
        if chosen is not None:
            classes = probe.logits.shape[1]
            if wrong := [target for target in chosen.tolist() if not 0 <= target < classes]:
                raise UserError(f"target {wrong[0]} is out of range: the network has classes 0 to {classes - 1}.")
            probe.targets = chosen
        return probe

    def _features(self, images: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            features = self.split.trunk(images)
            if torch.is_autocast_enabled(images.device.type):
                features = features.to(next(self.split.root.parameters(), wide(features)).dtype)
            return features.clone() if features.is_inference() else features


@contextlib.contextmanager
def precisely(device: torch.device) -> Iterator[None]:
    """Without gradients and without the caller's autocast or inference mode."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def _classes(targets: Tensor | Sequence[int] | int, n: int) -> Tensor:
    """A class for each of n images."""
    found = torch.as_tensor(targets)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise UserError(f"targets are {found.dtype}; pass class indices, or None for the predicted classes.")
    if found.ndim == 0:
        found = found.expand(n)
    if found.shape != (n,):
        raise UserError(f"targets have shape {tuple(found.shape)} for {n} images: pass one class for each, or one.")
    return found.long()


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, h, w) at another size (N, H, W), bilinearly, with `align_corners=False`."""
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def normalise(maps: Tensor) -> Tensor:
    """Each map (N, h, w) brought to [0, 1] by its minimum and maximum; a constant map to 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = high - low
    return (maps - low) / span.where(span > 0, 1)
