"""Scores of the head on ablated features (channels, locations, groups).

The trunk is never run again: each ablation sets a part of the features to zero and asks what it makes of the head's
output. Where the head has a channelwise prefix (`models.channelwise`), all ablations are one matrix product (for heads
that are affine after the prefix, a closed form); elsewhere the head's operations pass on what the ablations change
(`models.graph.incremental`). Without that, the head runs on ablated features in chunks that fit the free memory.
"""

import functools
import os
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.attribution.batch import Batch
from xcnn.device import at_least_float32, in_chunks
from xcnn.models.channelwise import ChannelwisePrefix
from xcnn.models.graph import Change, Incremental, Propagation, channel_change, channels_change, patch_change
from xcnn.models.split import Split

# Size of a chunk of ablated features: large enough for efficient products, small enough to leave room in the free
# memory for a head's activations, which take a few times as much.
CHUNK_BYTES = 2**28
SHARE_OF_FREE = 1 / 16
UNITS = 128  # of a linear layer whose weights are gathered at a time: 13 MB of VGG's


class Probe(Batch):
    """A batch at the cut: features, gradient of the head, and score drops under ablations.

    Args:
        split: the network, cut at the layer.
        channelwise: the channelwise prefix of its head, if it has one.
        images: network input (N, C, H, W).
        features: output of the trunk for them, (N, K, h, w).
        incremental: incremental inference from the cut on; None runs the head on each ablation instead.
        differentiable: whether to record the head's pass, so that `gradient` needs no second one.
        chunk: number of ablated features that go through the head at a time; None fits the free memory.

    Attributes:
        features: (N, K, h, w), not to be changed.
        images, logits, targets, ablations: as of `Batch`; each image masked by Score-CAM counts as an ablation.
    """

    def __init__(
        self,
        split: Split,
        channelwise: ChannelwisePrefix | None,
        images: Tensor,
        features: Tensor,
        incremental: Incremental | None,
        differentiable: bool = False,
        chunk: int | None = None,
    ):
        self.split, self.channelwise, self._chunk = split, channelwise, chunk
        self.features, self.incremental = features, incremental
        self._start = self.features.detach().requires_grad_(differentiable)
        with torch.set_grad_enabled(differentiable):
            self._output = split.head(self._start)
        super().__init__(images, self._output)

    @functools.cached_property
    def propagation(self) -> Propagation:
        """The head's values for the features, from which changes are carried on."""
        assert self.incremental is not None
        return self.incremental.base(self.features)

    def for_targets(self, targets: Tensor, again: bool = False) -> Self:
        other = super().for_targets(targets, again)
        for name in ("gradient", "_prefix_gradient"):
            vars(other).pop(name, None)
        return other

    @functools.cached_property
    def gradient(self) -> Tensor:
        """dY/dA, (N, K, h, w), through the head only."""
        if self._output.requires_grad:
            return _gradient(self._output, self._start, self.targets, self.again)
        return _head_gradient(self.split, self.features, self.targets)

    @torch.no_grad()
    def channel_drops(self, every_class: bool = False) -> Tensor:
        """Y - Y_k with channel k set to zero: (N, K), or (N, classes, K) for every class at once."""
        n, channels = self.features.shape[:2]
        self.ablations += channels
        if self.channelwise is None:
            image, channel = _pairs(n, channels, self.features.device)
            if self.incremental is not None:
                drops = self._carry(
                    lambda part: channel_change(self.features, image[part], channel[part]), image, every_class
                )
            else:
                drops = self._run_ablations(image, channel, _zero_channels, every_class)
            drops = drops.unflatten(0, (n, channels))
            return drops.movedim(1, -1)
        deltas = self._channel_deltas(self.channelwise)
        if self.channelwise.linear is not None:
            weight = self.channelwise.linear.weight.unflatten(1, (channels, -1))
            return self._through_rest(lambda f: torch.einsum("nkl,ukl->nku", f.flatten(2), weight), deltas, every_class)
        if not every_class:
            return (at_least_float32(deltas) * at_least_float32(self._prefix_gradient)).sum((2, 3))
        rows = self.channelwise.split.affine_rows(deltas.shape[1:])
        return torch.cat(
            [torch.einsum("nkhw,ckhw->nck", at_least_float32(deltas), at_least_float32(part)) for part in rows], 1
        )

    @torch.no_grad()
    def location_drops(self, every_class: bool = False) -> Tensor:
        """Y - Y_ij with the K-vector at (i, j) set to zero: (N, h, w), or (N, classes, h, w) for every class."""
        n, channels, height, width = self.features.shape
        self.ablations += height * width
        strides = self.channelwise.strides((height, width)) if self.channelwise is not None else None
        if self.channelwise is None or strides is None:
            image, place = _pairs(n, height * width, self.features.device)
            if self.incremental is not None:
                zeros = self.features.new_zeros(1, channels, 1, 1)
                corners = place // width, place % width

                def zeroed(part: slice) -> Change:
                    top, left = corners[0][part], corners[1][part]
                    return patch_change(self.features, image[part], top, left, zeros.expand(len(top), -1, -1, -1))

                drops = self._carry(zeroed, image, every_class)
            else:
                drops = self._run_ablations(image, place, _zero_locations, every_class)
            drops = drops.unflatten(0, (n, height * width))
            return drops.movedim(1, -1).unflatten(-1, (height, width))
        deltas = self._location_deltas(self.channelwise, strides)
        rows, columns = deltas.shape[2] * deltas.shape[3], deltas.shape[4] * deltas.shape[5]
        if self.channelwise.linear is not None:
            weight = self.channelwise.linear.weight
            drops = self._through_rest(lambda f: _place_by_place(f, weight), deltas, every_class)
        elif not every_class:
            drops = (at_least_float32(deltas) * at_least_float32(self._prefix_gradient)[:, :, :, None, :, None]).sum(1)
        else:
            parts = self.channelwise.split.affine_rows((channels, deltas.shape[2], deltas.shape[4]))
            drops = torch.cat(
                [
                    torch.einsum("nkhrwc,mkhw->nmhrwc", at_least_float32(deltas), at_least_float32(part))
                    for part in parts
                ],
                1,
            )
        batch = drops.shape[:2] if every_class else drops.shape[:1]
        # What a pooling leaves out at the borders has no effect.
        return F.pad(drops.reshape(*batch, rows, columns), (0, width - columns, 0, height - rows))

    @torch.no_grad()
    def group_drops(self, groups: Tensor, evaluated: Tensor) -> Tensor:
        """Y - Y_g with all channels of group g set to zero together.

        Args:
            groups: (N, K), group of each channel, in 0..G-1.
            evaluated: (N, G), the groups to ablate; the drops of others are 0 and are not counted.

        Returns:
            (N, G).
        """
        self.ablations += evaluated.sum(1).cpu()
        drops = torch.zeros(evaluated.shape, dtype=self.score.dtype, device=evaluated.device)
        channelwise = self.channelwise
        if channelwise is not None and channelwise.linear is None:  # the drops of channels add up
            shares = (
                at_least_float32(self._channel_deltas(channelwise)) * at_least_float32(self._prefix_gradient)
            ).sum((2, 3))
            return drops.scatter_add_(1, groups, shares) * evaluated
        image, group = evaluated.nonzero(as_tuple=True)
        if channelwise is None and self.incremental is not None:
            drops[evaluated] = self._carry(
                lambda part: channels_change(self.features, image[part], groups[image[part]] == group[part, None]),
                image,
            )
            return drops

        def ablate(features: Tensor, which: Tensor) -> None:
            features *= (groups[image[which]] != group[which, None])[:, :, None, None]

        drops[evaluated] = self._run_ablations(image, torch.arange(len(image), device=image.device), ablate)
        return drops

    # With a channelwise prefix, an ablation changes few places of the prefix's output.

    def _channel_deltas(self, channelwise: ChannelwisePrefix) -> Tensor:
        """Decrease of the prefix's output in channel k when that channel is zeroed, (N, K, h', w')."""
        return self._prefix_output - channelwise.prefix(torch.zeros_like(self.features[:1]))

    def _location_deltas(self, channelwise: ChannelwisePrefix, strides: tuple[int, int]) -> Tensor:
        """Decrease of the prefix's output when a location is zeroed, at the one place whose window holds the location.

        (N, K, h', r, w', c) for the r x c locations of each of the h' x w' windows. Locations at the same spot of their
        windows are zeroed together, as no window holds two of them.
        """
        r, c = strides
        deltas = self._prefix_output.new_empty(*self._prefix_output.shape[:3], r, self._prefix_output.shape[3], c)
        for row in range(r):
            for column in range(c):
                ablated = self.features.clone()
                ablated[:, :, row::r, column::c] = 0
                deltas[:, :, :, row, :, column] = self._prefix_output - channelwise.prefix(ablated)
        return deltas

    @functools.cached_property
    def _prefix_output(self) -> Tensor:
        assert self.channelwise is not None
        return self.channelwise.prefix(self.features)

    @functools.cached_property
    def _prefix_gradient(self) -> Tensor:
        """dY/d(prefix output), (N, K, h', w')."""
        assert self.channelwise is not None
        if self.channelwise.split is self.split:
            return self.gradient
        return _head_gradient(self.channelwise.split, self._prefix_output, self.targets)

    def _through_rest(self, changes: Callable[[Tensor], Tensor], deltas: Tensor, every_class: bool) -> Tensor:
        """Drops (N, ablations) or (N, classes, ablations) from changes (n, ablations, units) of the linear layer."""
        assert self.channelwise is not None and self.channelwise.linear is not None
        linear, rest = self.channelwise.linear, self.channelwise.rest
        ablations = deltas[0].numel() // (deltas.shape[1] if deltas.ndim == 6 else deltas[0, 0].numel())
        step = max(1, self._fitting(linear.out_features * ablations))
        drops = []
        for part in (slice(i, i + step) for i in range(0, len(deltas), step)):
            left = linear(self._prefix_output[part].flatten(1))[:, None] - changes(deltas[part])
            logits = rest(left.flatten(0, 1)).unflatten(0, left.shape[:2])
            drops.append(self._drops(logits, part, every_class))
        return torch.cat(drops)

    def _drops(self, logits: Tensor, part: slice, every_class: bool) -> Tensor:
        """Drops of images `part` from the logits (n, ablations, classes) of their ablations."""
        if every_class:
            return (at_least_float32(self.logits[part])[:, None] - at_least_float32(logits)).movedim(1, 2)
        chosen = self.targets[part, None, None].expand(-1, logits.shape[1], 1)
        return self.score[part, None] - at_least_float32(logits.gather(2, chosen)[..., 0])

    # Without one, what ablations change is carried through the head.

    def _carry(self, change: Callable[[slice], Change], image: Tensor, every_class: bool = False) -> Tensor:
        """Drops (P,) or (P, classes) of P changes of the features of images `image`."""
        if not len(image):
            return self.score.new_zeros(0)
        drops = -at_least_float32(self.propagation.deltas(len(image), change, self._chunk))
        return drops if every_class else drops.gather(1, self.targets[image, None])[:, 0]

    # Or the head runs on ablated features.

    def _run_ablations(
        self, image: Tensor, which: Tensor, ablate: Callable[[Tensor, Tensor], None], every_class: bool = False
    ) -> Tensor:
        """Drops (P,) or (P, classes) of P ablations of the features of images `image` by `ablate(features, which)`."""
        size = self._chunk or self._fitting(self.features[0].numel())

        def drops(part: slice) -> Tensor:
            images = image[part]
            features = self.features[images]
            ablate(features, which[part])
            logits = at_least_float32(self.split.head(features))
            if every_class:
                return at_least_float32(self.logits)[images] - logits
            return self.score[images] - logits.gather(1, self.targets[images, None])[:, 0]

        return torch.cat(in_chunks(len(image), size, drops))

    def _fitting(self, numbers: int) -> int:
        """Number of ablations, of so many numbers each, that make a chunk."""
        budget = min(CHUNK_BYTES, int(free_bytes(self.features.device) * SHARE_OF_FREE))
        return max(1, budget // (numbers * self.features.element_size()))


def free_bytes(device: torch.device) -> int:
    """Free memory of a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 16 * CHUNK_BYTES


def _place_by_place(deltas: Tensor, weight: Tensor) -> Tensor:
    """Product of a linear layer's weight (units, K h w) with deltas (n, K, h, r, w, c): (n, h r w c, units).

    One matrix product for each place. The weights of a place lie far apart in memory; gathered for some units at a
    time, they stay in the cache, which costs a fraction of what einsum takes to gather all of them.
    """
    n, channels, h, r, w, c = deltas.shape
    rows = deltas.permute(2, 4, 0, 3, 5, 1).reshape(h * w, n * r * c, channels)
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


def _gradient(logits: Tensor, features: Tensor, targets: Tensor, again: bool = False) -> Tensor:
    """Gradient of each image's target logit with respect to its features; zero where a head ignores them.

    Args:
        again: whether the pass of the logits is differentiated again.
    """
    if not logits.requires_grad:
        return torch.zeros_like(features)
    with torch.enable_grad():
        score = logits.gather(1, targets[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, features, None, again, allow_unused=True, materialize_grads=True)
    return gradient


def _pairs(n: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Image and ablation indices, (n count,) each, of every ablation of every image."""
    return (
        torch.arange(n, device=device).repeat_interleave(count),
        torch.arange(count, device=device).repeat(n),
    )


def _zero_channels(features: Tensor, channel: Tensor) -> None:
    features[torch.arange(len(features), device=features.device), channel] = 0


def _zero_locations(features: Tensor, place: Tensor) -> None:
    width = features.shape[3]
    features[torch.arange(len(features), device=features.device), :, place // width, place % width] = 0
