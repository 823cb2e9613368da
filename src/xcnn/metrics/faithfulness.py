"""Faithfulness: what remains of a network's output when only what a map marks is shown (Pixel Ablation-CAM, 4.2).

An explanation map is the image where a map is kept and nothing elsewhere. Y is the output for the image and O for its
explanation map, both for the class predicted for the image. What is kept and what nothing is the paper does not say
enough of to fix the number, so both are named choices (`KEEPS`, `FILLS`), crossed into protocols. Maps are at the
image's size here: `xcnn.attribution.upsample` brings them there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from xcnn import attribution
from xcnn.errors import UserError
from xcnn.metrics.ranking import finite

Normalise = Callable[[Tensor], Tensor]


def top_fraction(maps: Tensor, fraction: float = 0.2) -> Tensor:
    """Exactly round(fraction H W) pixels of each map, the highest: (N, H, W) -> (N, H, W) of 0 and 1.

    Pixels tied at the edge are taken in reading order, row by row from the top left, so that a map with fewer pixels
    above 0 than are kept still keeps as many as any other.
    """
    flat = maps.flatten(1)
    n_kept = round(fraction * flat.shape[1])
    edge = flat.topk(max(n_kept, 1), dim=1, sorted=False).values.amin(1, keepdim=True)
    above, tied = flat > edge, flat == edge
    places = tied.cumsum(1, dtype=torch.int32)
    kept = above | (tied & (places <= n_kept - above.sum(1, keepdim=True)))
    return kept.view_as(maps).to(maps.dtype)


def threshold(maps: Tensor, fraction: float = 0.2) -> Tensor:
    """Pixels of at least `fraction` of their map's maximum: (N, H, W) -> (N, H, W) of 0 and 1.

    Pixels at or below 0 are never kept, so a map without a positive one keeps nothing.
    """
    return ((maps >= fraction * maps.amax((1, 2), keepdim=True)) & (maps > 0)).to(maps.dtype)


def soft(maps: Tensor, fraction: float = 0.2) -> Tensor:
    """The map itself, brought to [0, 1] by its minimum and maximum (Grad-CAM++): (N, H, W) -> (N, H, W).

    There is no edge, so `fraction` does not matter. A constant map keeps nothing.
    """
    return attribution.normalise(maps)


KEEPS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "top_fraction": top_fraction,
    "threshold": threshold,
    "soft": soft,
}


def black(images: Tensor, masks: Tensor, normalise: Normalise) -> Tensor:
    """0 in RGB, before normalisation."""
    return normalise(images * masks)


def mean(images: Tensor, masks: Tensor, normalise: Normalise) -> Tensor:
    """0 after normalisation: the mean colour of the training images."""
    return normalise(images) * masks


FILLS: dict[str, Callable[[Tensor, Tensor, Normalise], Tensor]] = {"black": black, "mean": mean}


@dataclass(frozen=True)
class Protocol:
    """How an explanation map is made.

    Args:
        keep: name in `KEEPS`.
        fill: name in `FILLS`.
        fraction: of the pixels that `top_fraction` keeps, or of the map's maximum for `threshold`, in (0, 1].
        label: name of what is kept in results, where one `keep` is taken with several fractions; None for `keep`.

    Raises:
        UserError: an unknown name, or `fraction` outside (0, 1].
    """

    keep: str
    fill: str
    fraction: float = 0.2
    label: str | None = None

    def __post_init__(self) -> None:
        for kind, name, known in (("keep", self.keep, KEEPS), ("fill", self.fill, FILLS)):
            if name not in known:
                raise UserError(f"{kind} {name!r} is not known; there are: {', '.join(known)}.")
        if not 0 < self.fraction <= 1:
            raise UserError(f"fraction is {self.fraction}; choose one in (0, 1].")

    @property
    def kept(self) -> str:
        """Name of what is kept, which protocols with other fills share."""
        return self.label or self.keep

    @property
    def name(self) -> str:
        return f"{self.kept}-{self.fill}"

    def masks(self, maps: Tensor) -> Tensor:
        """How much of each pixel is kept: maps (N, H, W) at the image's size -> (N, H, W) in [0, 1].

        Their mean over a map is its kept share.

        Raises:
            UserError: not (N, H, W), or a map is not finite.
        """
        if maps.ndim != 3:
            raise UserError(f"maps are {tuple(maps.shape)}; pass (N, H, W), upsampled to the images.")
        return KEEPS[self.keep](finite(maps), self.fraction)

    def explanation(self, images: Tensor, masks: Tensor, normalise: Normalise) -> Tensor:
        """The network's input: images (N, 3, H, W) in [0, 1], masks (N, H, W) -> (N, 3, H, W), normalised.

        Args:
            images: before normalisation.
            masks: of `masks`.
            normalise: images in [0, 1] to the network's input.

        Raises:
            UserError: the masks are not of the images' number and size.
        """
        if images.ndim != 4 or masks.shape != (len(images), *images.shape[2:]):
            raise UserError(
                f"images are {tuple(images.shape)} and masks {tuple(masks.shape)}; pass images (N, 3, H, W) and masks "
                "(N, H, W): upsample the maps to the images first."
            )
        return FILLS[self.fill](images, masks[:, None].to(images.dtype), normalise)


def protocols(fraction: float = 0.2) -> tuple[Protocol, ...]:
    """All choices, crossed."""
    return tuple(Protocol(keep, fill, fraction) for keep in KEEPS for fill in FILLS)


class Outputs(NamedTuple):
    """A network's output for one class per image: its probability and its logit, (N,) each."""

    confidence: Tensor
    activation: Tensor

    @classmethod
    def of(cls, logits: Tensor, classes: Tensor) -> "Outputs":
        """From logits (N, classes), for the classes (N,) predicted for the unmasked images.

        The softmax is taken in float64: in float32 all confidences above 1 - 6e-8 are the same number, and neither an
        increase nor a win could be told there.
        """
        chosen = classes[:, None]
        return cls(logits.double().softmax(1).gather(1, chosen)[:, 0], logits.gather(1, chosen)[:, 0])


def drop_share(y: Tensor, o: Tensor) -> Tensor:
    """max(0, (Y - O)/Y) of each image, eq. 6: y (N,), o (..., N) -> (..., N), at least 0.

    NaN where Y <= 0, where the drop is undefined; as a drop of confidence it never is.

    Raises:
        UserError: the numbers of images differ, or an output is not finite.
    """
    y, o = _outputs(y, o)
    return ((y - o) / y).clamp(min=0).where(y > 0, torch.nan)


def increased(y: Tensor, o: Tensor) -> Tensor:
    """Whether O > Y for each image, eq. 7: y (N,), o (..., N) -> bool (..., N). Raises as `drop_share` does."""
    y, o = _outputs(y, o)
    return o > y


def average_drop(y: Tensor, o: Tensor) -> Tensor:
    """Average drop %, eq. 6, over the images where it is defined: y (N,), o (..., N) -> (...), at least 0."""
    return 100 * drop_share(y, o).nanmean(-1)


def increase(y: Tensor, o: Tensor) -> Tensor:
    """Rate of increase in scores %, eq. 7: y (N,), o (..., N) -> (...) in [0, 100]."""
    return 100 * increased(y, o).double().mean(-1)


def wins(drops: Tensor) -> Tensor:
    """Whether each method alone has the smallest drop: (methods, N) -> (methods, N) of 0 and 1.

    A tie is nobody's win, so 1 less the wins of all methods is the share of ties; most are at a drop of 0, where two
    methods both raise the output. NaN where a drop is undefined: such an image is no comparison.

    Raises:
        UserError: not (methods, N) with at least two methods: nothing is compared.
    """
    if drops.ndim != 2 or len(drops) < 2:
        raise UserError(f"drops are {tuple(drops.shape)}; pass (methods, N), with two methods or more to compare.")
    smallest = drops == drops.amin(0)
    alone = smallest & (smallest.sum(0) == 1)
    return alone.to(drops.dtype).where(~drops.isnan().any(0), torch.nan)


def _outputs(y: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    if y.ndim != 1 or o.ndim < 1 or o.shape[-1] != len(y):
        raise UserError(
            f"Y is {tuple(y.shape)} and O {tuple(o.shape)}; pass (N,) and (..., N), the same images in both."
        )
    if not (y.isfinite().all() and o.isfinite().all()):
        raise UserError("an output is NaN or infinite; look for the input or the weights that made it.")
    return y, o
