"""The call that all attribution methods share: a network, images, targets; one map per image."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.device import full_precision
from xcnn.errors import Unsuited, UserError
from xcnn.models.checks import check_model, first_weight, fitting_images
from xcnn.models.graph import evaluation_copy

Targets = Tensor | Sequence[int] | int | None
Choice = Targets | Callable[[Tensor], Tensor]  # of the logits (N, classes): a class for each image


@dataclass(frozen=True)
class Explanation:
    """Maps, and the logits, targets and counts behind them.

    Attributes:
        maps: (N, h, w), float32 (float64 for a network in float64), not normalised.
        targets: (N,), the classes explained.
        logits: (N, classes) of the images.
        nonpositive: (N,), whether the target's logit is not above 0, so that shares of it mean little; drops are
            divided by its absolute value, so that they keep their sign.
        ablations: (N,), number of ablated or masked inputs evaluated.
    """

    maps: Tensor
    targets: Tensor
    logits: Tensor
    nonpositive: Tensor
    ablations: Tensor


class Method(ABC):
    """An attribution method: `method(images, targets)` gives maps (N, h, w).

    A method that explains features at a layer is a `LayerMethod`. Any other implements `maps`. The network is run in
    evaluation mode and left as it is: mode, hooks, gradients, weights and buffers. Safe to call from several threads.

    Args:
        model: network from images (N, C, H, W) to logits (N, classes).

    Attributes:
        network: copy of the module structure in evaluation mode, with the user's parameters and buffers and without the
            user's hooks.

    Raises:
        UserError: the model is no network (see `xcnn.models.checks.check_model`).
    """

    def __init__(self, model: nn.Module):
        check_model(model)
        self.network = evaluation_copy(model)

    @abstractmethod
    def maps(self, batch: Batch) -> Tensor:
        """Maps (N, h, w) of the batch's images for its targets; called without gradients and autocast."""

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
                logits, activations or maps that are not finite.
        """
        return self._explanation(self._batch(images, targets))

    def explain_each(self, images: Tensor, targets: Sequence[Choice]) -> list[Explanation]:
        """Explanations of the images for each of several targets, from one forward pass.

        Args:
            images: as for `explain`.
            targets: each as for `explain`, or a function from the logits (N, classes) to a class for each image.

        Raises:
            UserError: as for `explain`.
        """
        given = [one if callable(one) else _checked(images, one) for one in targets]
        batch, found = self._batch(images), []
        for place, one in enumerate(given, 1):
            chosen = _checked(images, one(batch.logits)) if callable(one) else one
            if chosen is None:
                chosen = batch.targets
            _check_range(chosen, batch.logits)
            found.append(self._explanation(batch.for_targets(chosen, again=place < len(given))))
        return found

    def _explanation(self, batch: Batch) -> Explanation:
        with full_precision(batch.images.device):
            maps = self.maps(batch).to(batch.score.dtype)
        return Explanation(self._finite(maps, "map"), batch.targets, batch.logits, batch.score <= 0, batch.ablations)

    def _batch(self, images: Tensor, targets: Targets = None) -> Batch:
        """The images with their logits and targets, checked; under autocast in the weights' own precision.

        Raises:
            UserError: as for `explain`.
        """
        chosen = _checked(images, targets)
        images = self._prepared(images)
        with full_precision(images.device):
            batch = Batch(images, self.logits(images))
        self._set_targets(batch, chosen, batch.logits.isfinite().flatten(1).all(1), "the logits")
        return batch

    def _finite(self, values: Tensor, what: str) -> Tensor:
        if not values.isfinite().all():
            raise Unsuited(f"{type(self).__name__} gave a {what} with NaN or infinity{self._place()}.")
        return values

    def logits(self, images: Tensor) -> Tensor:
        """The network's logits (N, classes), in the precision in which `explain` gives them."""
        images = self._prepared(images)
        with full_precision(images.device), fitting_images(images, self.network):
            return self.network(images)

    def _prepared(self, images: Tensor) -> Tensor:
        """A copy of the images, as the network's first layer may work in place; under autocast in the weights' type."""
        weight = first_weight(self.network) if torch.is_autocast_enabled(images.device.type) else None
        with full_precision(images.device):
            return images.detach().to(images.dtype if weight is None else weight.dtype, copy=True)

    def _set_targets(self, batch: Batch, chosen: Tensor | None, finite: Tensor, where: str) -> None:
        """Set the chosen classes (N,), if any, after the checks that need the logits.

        Args:
            finite: (N,), whether all values of each image are.
            where: the values that `finite` is about.
        """
        if batch.logits.ndim != 2:
            raise UserError(f"the network's output has shape {tuple(batch.logits.shape)}; (N, classes) is needed.")
        if not finite.all():
            named = ", ".join(str(index) for index in (~finite).nonzero()[:10, 0].tolist())
            raise UserError(
                f"NaN or infinity in {where}, for image(s) {named} of the batch. Look at those images, the weights and "
                "the precision."
            )
        if chosen is not None:
            _check_range(chosen, batch.logits)
            batch.targets = chosen

    def _place(self) -> str:
        """The place of the maps, for messages."""
        return ""


def _check_range(targets: Tensor, logits: Tensor) -> None:
    classes = logits.shape[1]
    if wrong := [target for target in targets.tolist() if not 0 <= target < classes]:
        raise UserError(f"target {wrong[0]} is out of range: the network has classes 0 to {classes - 1}.")


def checked_chunk(chunk: int | None) -> int | None:
    """A number of items at a time, or None for as many as fit the memory.

    Raises:
        UserError: below 1.
    """
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk must be at least 1, not {chunk}; None fits the memory there is.")
    return chunk


def check_finite(images: Tensor) -> None:
    """Refuse images (N, C, H, W) with values that are not finite.

    Raises:
        UserError: some are; names the images.
    """
    if bad := (~images.detach().isfinite().flatten(1).all(1)).nonzero()[:10, 0].tolist():
        named = ", ".join(map(str, bad))
        raise UserError(f"NaN or infinity in image(s) {named} of the batch. Look at how they were read.")


def _checked(images: Tensor, targets: Targets) -> Tensor | None:
    """The chosen classes (N,) on the images' device, after the checks of both that need no network."""
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise UserError(f"images are {got}; pass a float tensor (N, C, H, W), normalised as the network needs.")
    if targets is None:
        return None
    with torch.inference_mode(False):  # a tensor made in that mode could not be saved for a gradient
        return _classes(targets, len(images)).to(images.device, copy=True)


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
