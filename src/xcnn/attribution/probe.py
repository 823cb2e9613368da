"""What a head says of features, and of what is left of them when a channel, a location or a group is set to zero.

The network is never run again: an ablation is a question to the head. Where the head begins as `models.entrance` knows
it, all ablations are one matrix product (for heads that are affine after that beginning, a closed form); elsewhere the
head runs on ablated features in chunks that fit the memory there is.
"""

import functools
import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.device import wide
from xcnn.models.entrance import Entrance
from xcnn.models.split import Split

# A chunk of ablated features: large enough for efficient products, small enough to leave room for a head's activations,
# a few times as large, in the memory that is free.
CHUNK_BYTES = 2**28
SHARE_OF_FREE = 1 / 16
UNITS = 128  # of a linear layer whose weights are gathered at a time: 13 MB of VGG's


class Probe:
    """A batch at the cut.

    Args:
        split: the network, cut.
        entrance: how its head begins, if that is known.
        images: (N, C, H, W), what the network is given.
        features: (N, K, h, w), what the trunk makes of them.
        differentiable: run the head so that `gradient` needs no second pass.
        chunk: ablated features that go through the head at a time; None fits the memory.

    Attributes:
        features: not to be changed.
        logits: (N, classes), detached.
        targets: (N,), the classes to explain: at first those that the head predicts.
        ablations: (N,), how many ablations were asked of the head for each image (masked pictures, in Score-CAM).
    """

    def __init__(
        self,
        split: Split,
        entrance: Entrance | None,
        images: Tensor,
        features: Tensor,
        differentiable: bool = False,
        chunk: int | None = None,
    ):
        self.split, self.entrance, self.images, self._chunk = split, entrance, images, chunk
        self.features = features
        self._start = self.features.detach().requires_grad_(differentiable)
        with torch.set_grad_enabled(differentiable):
            self._output = split.head(self._start)
        self.logits = self._output.detach()
        self.targets = self.logits.argmax(-1)
        self.ablations = torch.zeros(len(images), dtype=torch.long)

    @property
    def score(self) -> Tensor:
        """Y, the target's logit (N,), in float32 or wider."""
        return wide(self.logits.gather(1, self.targets[:, None])[:, 0])

    @functools.cached_property
    def gradient(self) -> Tensor:
        """dY/dA, (N, K, h, w), through the head only."""
        if self._output.requires_grad:
            return _gradient(self._output, self._start, self.targets)
        return _head_gradient(self.split, self.features, self.targets)

    @torch.no_grad()
    def channel_drops(self, every_class: bool = False) -> Tensor:
        """Y - Y_k with channel k set to zero: (N, K), or (N, classes, K) for every class at once."""
        n, channels = self.features.shape[:2]
        self.ablations += channels
        if self.entrance is None:
            image, channel = _pairs(n, channels, self.features.device)
            return self._asked(image, channel, _zero_channels, every_class).unflatten(0, (n, channels)).movedim(1, -1)
        falls = self._channel_falls(self.entrance)
        if self.entrance.linear is not None:
            weight = self.entrance.linear.weight.unflatten(1, (channels, -1))
            return self._through_rest(lambda f: torch.einsum("nkl,ukl->nku", f.flatten(2), weight), falls, every_class)
        if not every_class:
            return (wide(falls) * wide(self._led_gradient)).sum((2, 3))
        rows = self.entrance.split.affine_rows(falls.shape[1:])
        return torch.cat([torch.einsum("nkhw,ckhw->nck", wide(falls), wide(part)) for part in rows], 1)

    @torch.no_grad()
    def location_drops(self, every_class: bool = False) -> Tensor:
        """Y - Y_ij with the K-vector at (i, j) set to zero: (N, h, w), or (N, classes, h, w) for every class."""
        n, channels, height, width = self.features.shape
        self.ablations += height * width
        strides = self.entrance.strides((height, width)) if self.entrance is not None else None
        if self.entrance is None or strides is None:
            image, place = _pairs(n, height * width, self.features.device)
            drops = self._asked(image, place, _zero_locations, every_class).unflatten(0, (n, height * width))
            return drops.movedim(1, -1).unflatten(-1, (height, width))
        falls = self._location_falls(self.entrance, strides)
        rows, columns = falls.shape[2] * falls.shape[3], falls.shape[4] * falls.shape[5]
        if self.entrance.linear is not None:
            weight = self.entrance.linear.weight
            drops = self._through_rest(lambda f: _place_by_place(f, weight), falls, every_class)
        elif not every_class:
            drops = (wide(falls) * wide(self._led_gradient)[:, :, :, None, :, None]).sum(1)
        else:
            parts = self.entrance.split.affine_rows((channels, falls.shape[2], falls.shape[4]))
            drops = torch.cat([torch.einsum("nkhrwc,mkhw->nmhrwc", wide(falls), wide(part)) for part in parts], 1)
        lead = drops.shape[:2] if every_class else drops.shape[:1]
        # What a pooling leaves out at the borders has no effect.
        return F.pad(drops.reshape(*lead, rows, columns), (0, width - columns, 0, height - rows))

    @torch.no_grad()
    def group_drops(self, groups: Tensor, asked: Tensor) -> Tensor:
        """Y - Y_g with all channels of group g set to zero together.

        Args:
            groups: (N, K), the group of each channel, in 0..G-1.
            asked: (N, G), whether to ask for a group; others give 0 and are not counted.

        Returns:
            (N, G).
        """
        self.ablations += asked.sum(1).cpu()
        drops = torch.zeros(asked.shape, dtype=self.score.dtype, device=asked.device)
        entrance = self.entrance
        if entrance is not None and entrance.linear is None:  # what channels take away adds up
            shares = (wide(self._channel_falls(entrance)) * wide(self._led_gradient)).sum((2, 3))
            return drops.scatter_add_(1, groups, shares) * asked
        image, group = asked.nonzero(as_tuple=True)

        def ablate(features: Tensor, which: Tensor) -> None:
            features *= (groups[image[which]] != group[which, None])[:, :, None, None]

        drops[asked] = self._asked(image, torch.arange(len(image), device=image.device), ablate)
        return drops

    # Where the beginning of the head is known, what it gives changes in few places.

    def _channel_falls(self, entrance: Entrance) -> Tensor:
        """How far a zeroed channel brings `lead`'s result down, (N, K, h', w'): that channel of it and no other."""
        return self._led - entrance.lead(torch.zeros_like(self.features[:1]))

    def _location_falls(self, entrance: Entrance, strides: tuple[int, int]) -> Tensor:
        """How far a zeroed location brings down the one place of `lead`'s result that sees it.

        (N, K, h', r, w', c) for the r x c locations of each of the h' x w' places. Locations at the same spot of their
        places are zeroed together: no place sees two of them.
        """
        r, c = strides
        falls = self._led.new_empty(*self._led.shape[:3], r, self._led.shape[3], c)
        for row in range(r):
            for column in range(c):
                ablated = self.features.clone()
                ablated[:, :, row::r, column::c] = 0
                falls[:, :, :, row, :, column] = self._led - entrance.lead(ablated)
        return falls

    @functools.cached_property
    def _led(self) -> Tensor:
        assert self.entrance is not None
        return self.entrance.lead(self.features)

    @functools.cached_property
    def _led_gradient(self) -> Tensor:
        """dY/d(lead's result)."""
        assert self.entrance is not None
        if self.entrance.split is self.split:
            return self.gradient
        return _head_gradient(self.entrance.split, self._led, self.targets)

    def _through_rest(self, changes: Callable[[Tensor], Tensor], falls: Tensor, every_class: bool) -> Tensor:
        """Drops (N, ablations) or (N, classes, ablations), from changes (n, ablations, units) of the linear layer."""
        assert self.entrance is not None and self.entrance.linear is not None
        linear, rest = self.entrance.linear, self.entrance.rest
        ablations = falls[0].numel() // (falls.shape[1] if falls.ndim == 6 else falls[0, 0].numel())
        step = max(1, self._fitting(linear.out_features * ablations))
        drops = []
        for part in (slice(i, i + step) for i in range(0, len(falls), step)):
            left = linear(self._led[part].flatten(1))[:, None] - changes(falls[part])
            logits = rest(left.flatten(0, 1)).unflatten(0, left.shape[:2])
            drops.append(self._drops(logits, part, every_class))
        return torch.cat(drops)

    def _drops(self, logits: Tensor, part: slice, every_class: bool) -> Tensor:
        """Drops of images `part` from the logits (n, ablations, classes) of their ablations."""
        if every_class:
            return (wide(self.logits[part])[:, None] - wide(logits)).movedim(1, 2)
        chosen = self.targets[part, None, None].expand(-1, logits.shape[1], 1)
        return self.score[part, None] - wide(logits.gather(2, chosen)[..., 0])

    # Elsewhere the head runs on ablated features.

    def _asked(
        self, image: Tensor, which: Tensor, ablate: Callable[[Tensor, Tensor], None], every_class: bool = False
    ) -> Tensor:
        """Drops (P,) or (P, classes) of P ablations: `ablate(features, which)` of the features of images `image`."""
        size, start = self._chunk or self._fitting(self.features[0].numel()), 0
        drops: list[Tensor] = []
        while start < len(image):
            part = image[start : start + size]
            try:
                features = self.features[part]
                ablate(features, which[start : start + size])
                logits = wide(self.split.head(features))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size = (size + 1) // 2
                torch.cuda.empty_cache()
                continue
            if every_class:
                drops.append(wide(self.logits)[part] - logits)
            else:
                drops.append(self.score[part] - logits.gather(1, self.targets[part, None])[:, 0])
            start += size
        return torch.cat(drops)

    def _fitting(self, numbers: int) -> int:
        """How many things of so many numbers make a chunk."""
        budget = min(CHUNK_BYTES, int(free_bytes(self.features.device) * SHARE_OF_FREE))
        return max(1, budget // (numbers * self.features.element_size()))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 16 * CHUNK_BYTES


def _place_by_place(falls: Tensor, weight: Tensor) -> Tensor:
    """What a linear layer with this weight (units, K h w) makes of falls (n, K, h, r, w, c): (n, h r w c, units).

    One matrix product a place. A place's weights lie far apart in memory; gathered for some units at a time, they stay
    in the cache, and gathering costs a fraction of what einsum takes to gather all of them.
    """
    n, channels, h, r, w, c = falls.shape
    rows = falls.permute(2, 4, 0, 3, 5, 1).reshape(h * w, n * r * c, channels)
    parts = [
        rows @ part.unflatten(1, (channels, h * w)).transpose(1, 2).contiguous().permute(1, 2, 0)
        for part in weight.split(UNITS)
    ]
    return torch.cat(parts, 2).reshape(h, w, n, r, c, -1).permute(2, 0, 3, 1, 4, 5).flatten(1, 4)


def _head_gradient(split: Split, features: Tensor, targets: Tensor) -> Tensor:
    start = features.detach().requires_grad_()
    with torch.enable_grad():
        output = split.head(start)
    return _gradient(output, start, targets)


def _gradient(logits: Tensor, features: Tensor, targets: Tensor) -> Tensor:
    """Of each image's target with respect to its features; zero where a head ignores them."""
    if not logits.requires_grad:
        return torch.zeros_like(features)
    with torch.enable_grad():
        score = logits.gather(1, targets[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, features, allow_unused=True, materialize_grads=True)
    return gradient


def _pairs(n: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every image with every ablation: image and ablation indices, (n count,) each."""
    return (
        torch.arange(n, device=device).repeat_interleave(count),
        torch.arange(count, device=device).repeat(n),
    )


def _zero_channels(features: Tensor, channel: Tensor) -> None:
    features[torch.arange(len(features), device=features.device), channel] = 0


def _zero_locations(features: Tensor, place: Tensor) -> None:
    width = features.shape[3]
    features[torch.arange(len(features), device=features.device), :, place // width, place % width] = 0
