"""Prototypes of the encoder: B4, B34, B234 and other sets of blocks (Boubekki & Clemmensen 2026, section 3.3).

Where the paper is silent or contradicts itself: blocks are brought to the resolution of the shallowest one, bilinearly
with `align_corners=False`; classes are chosen by eq. 10, not by "the most frequent cluster" of the sentence after it;
ties, which are common where there are few locations, go to the class whose prototypes are nearer over all locations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.prototypes.codebook import Codebook, classes_of, fitted, load_codebooks, save_codebooks
from xcnn.prototypes.composite import BlockWeight, Interpolation, Norm, check_options, composite, products
from xcnn.prototypes.encoder import Encoder, exact
from xcnn.prototypes.k_means import KMeans
from xcnn.prototypes.segments import class_attribution, propagated

CACHE_BYTES = 2**29  # of a class's rows or maps that are kept between the passes of k-means; the rest is made anew
PRODUCT_BYTES = 2**26  # of products with prototypes, or of one enlarged block, at a time


@dataclass(frozen=True)
class EncoderExplained:
    """What the blocks say of images.

    Args:
        segments: the explanation maps (N, H', W') int64: at each location the nearest of all prototypes.
        scores: (N, C), y of eq. 10: locations that went to the class, over K/C.
        predicted: (N,) int64.
        tied: (N,) bool: several classes had the highest score.
        distances: (N, H', W'), squared, to the prototype of `segments`.
        logits: (N, C), of the network's own classifier.
        attribution: (N, H', W'), eq. 11 brought to this depth; None where it was not asked for.
        targets: (N,) int64, the class that the attribution is for.
    """

    segments: Tensor
    scores: Tensor
    predicted: Tensor
    tied: Tensor
    distances: Tensor
    logits: Tensor
    attribution: Tensor | None
    targets: Tensor


class EncoderExplanation:
    """Prototypes of the locations of a set of blocks: per class, k-means on composite rows.

    Args:
        encoder: the network and its blocks, e.g. layer2, layer3, layer4 for B234.
        per_class: K/C, prototypes for each class.
        block_weight: "1/D" (eq. 8), "1/sqrt(D)" or "1": how much each block's channels count.
        norm: "row" (each location) or "map" (the whole map).
        interpolation: "bilinear" or "bicubic".
        attributes: also fit the prototypes of the deeper blocks alone, which `explain(..., attribute=True)` needs to
            bring the classifier's attribution to the shallowest block.
        seed: of k-means.
        cache_bytes: of a class's rows, or of the maps they are made of, to keep between the passes of k-means. What is
            beyond is made anew by the network in each pass: memory does not grow with the data set.

    Raises:
        UserError: an option that there is not.
    """

    def __init__(
        self,
        encoder: Encoder,
        per_class: int = 5,
        block_weight: BlockWeight = "1/D",
        norm: Norm = "row",
        interpolation: Interpolation = "bilinear",
        attributes: bool = False,
        seed: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ):
        if per_class < 1:
            raise UserError(f"per_class must be at least 1, not {per_class}.")
        check_options(block_weight, norm, interpolation)
        self.encoder, self.per_class, self.seed, self.cache_bytes = encoder, per_class, seed, cache_bytes
        self.block_weight, self.norm, self.interpolation = block_weight, norm, interpolation
        # From all blocks to the last two: the depths through which the attribution comes. Without it, all blocks only.
        self.depths = range(max(1, len(encoder.blocks) - 1) if attributes else 1)
        self.codebooks: list[Codebook] = []

    def options(self, depth: int = 0) -> dict[str, Any]:
        """What the prototypes of a depth were made with, as plain values."""
        return {
            "blocks": list(self.encoder.blocks[depth:]),
            "per_class": self.per_class,
            "block_weight": self.block_weight,
            "norm": self.norm,
            "interpolation": self.interpolation,
        }

    @property
    def codebook(self) -> Codebook:
        """The prototypes of all blocks together."""
        return fitted(self.codebooks[0] if self.codebooks else None)

    # Fitting

    def fit(self, images: Tensor, labels: Tensor) -> Self:
        """Prototypes of training images (N, ...) of classes (N,).

        Raises:
            UserError: a class without images, or with fewer rows than prototypes; see also `Encoder.maps`.
        """
        shapes = [part.shape[1:] for part in self.encoder.maps(next(self.encoder.batches(images[:1])))]
        sizes = [shapes[depth][1] * shapes[depth][2] for depth in self.depths]
        members = classes_of(labels, len(images), len(self.encoder.columns), self.per_class, min(sizes))
        found: list[list[KMeans]] = [[] for _ in self.depths]
        for indices in members:
            source = _ClassMaps(self.encoder, images, indices, self.cache_bytes)
            for depth in self.depths:
                rows = source.rows(partial(self._rows, depth=depth))
                with exact(self.encoder.columns):  # but for the network, which is run anew in the caller's autocast
                    found[depth].append(KMeans(self.per_class, seed=self.seed).fit(rows))
        self.codebooks = [
            Codebook(
                torch.cat([means.centroids_ for means in found[depth]]),
                self.per_class,
                type(self).__name__,
                self.encoder.identity,
                self.options(depth),
                torch.stack([means.inertia_ for means in found[depth]]).cpu(),
                torch.tensor([len(indices) * sizes[depth] for indices in members]),
            )
            for depth in self.depths
        ]
        return self

    def _rows(self, maps: Sequence[Tensor], depth: int = 0) -> Tensor:
        """Composite rows (N, H', W', D) of the blocks from `depth` on."""
        return composite(maps[depth:], self.block_weight, self.norm, self.interpolation)

    # Explaining

    def explain(self, images: Tensor, targets: Tensor | None = None, attribute: bool = False) -> EncoderExplained:
        """Explanation maps, class scores and, if asked for, the attribution of images (N, ...), in one call.

        Args:
            targets: (N,), the classes to attribute; None takes those that the network predicts.
            attribute: bring eq. 11 to the shallowest block.

        Raises:
            UserError: nothing was fitted or loaded; an attribution was not prepared for (`attributes`), or is asked of
                a class that there is not; see also `Encoder.maps`.
        """
        if targets is not None and (
            targets.shape != (len(images),) or not bool(((targets >= 0) & (targets < len(self.encoder.columns))).all())
        ):
            raise UserError(
                f"targets must be {len(images)} classes in 0..{len(self.encoder.columns) - 1}, one for each image."
            )
        self.codebook.expect_backbone(self.encoder.identity, type(self).__name__)
        parts, start = [], 0
        for part in self.encoder.batches(images):
            chosen = None if targets is None else targets[start : start + len(part)].to(part.device)
            parts.append(self.explain_maps(self.encoder.maps(part), chosen, attribute))
            start += len(part)
        return _joined(parts)

    def explain_maps(
        self, maps: Sequence[Tensor], targets: Tensor | None = None, attribute: bool = False
    ) -> EncoderExplained:
        """The same of the encoder's maps of a batch."""
        logits = self.encoder.logits(maps[-1].mean((2, 3)))
        if targets is None:
            targets = logits.argmax(1)
        segments, distances, by_class = self._assigned(maps, 0)
        scores = torch.zeros_like(logits)
        scores.scatter_add_(1, segments.flatten(1) // self.per_class, torch.ones_like(distances.flatten(1)))
        best = scores == scores.amax(1, keepdim=True)
        predicted = by_class.masked_fill(~best, torch.inf).argmin(1)
        attribution = None
        if attribute:
            if len(self.depths) < len(self.encoder.blocks) - 1:
                raise UserError("the attribution needs the prototypes of the deeper blocks: fit with attributes=True.")
            with exact(logits):
                attribution = class_attribution(maps[-1], self.encoder.columns[targets])
            on_the_way = [segments if depth == 0 else self._assigned(maps, depth)[0] for depth in reversed(self.depths)]
            attribution = propagated(attribution, on_the_way if len(maps) > 1 else [], self.interpolation)
        return EncoderExplained(
            segments, scores / self.per_class, predicted, best.sum(1) > 1, distances, logits, attribution, targets
        )

    def _assigned(self, maps: Sequence[Tensor], depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """Nearest prototypes (N, H', W'), squared distances, and their sums over locations by class (N, C)."""
        if not self.codebooks:
            fitted(None)
        prototypes, (n, _, height, width) = self.codebooks[depth].prototypes, maps[depth].shape
        wide = max(len(prototypes), *(part.shape[1] for part in maps[depth:]))
        batch = max(1, PRODUCT_BYTES // (wide * height * width * prototypes.element_size()))
        labels, squared, sums = [], [], []
        for part in zip(*(block.split(batch) for block in maps), strict=True):
            with exact(prototypes):
                label, closest = self._nearest(part, depth)
            labels.append(label)
            squared.append(closest.amin(2))
            sums.append(closest.sum(1))
        shape = (n, height, width)
        return torch.cat(labels).view(shape), torch.cat(squared).view(shape), torch.cat(sums)

    def _nearest(self, maps: Sequence[Tensor], depth: int) -> tuple[Tensor, Tensor]:
        """Nearest prototypes (N, R) at R locations, and each class's least squared distance there (N, R, C)."""
        prototypes = self.codebooks[depth].prototypes
        found, squared = products(maps[depth:], prototypes, self.block_weight, self.norm, self.interpolation)
        # What is the same for all prototypes, a row's length, is added to the classes' least only.
        scores = torch.sub(prototypes.square().sum(1), found, alpha=2).flatten(1, 2)
        by_class = scores.unflatten(2, (-1, self.per_class))
        least = by_class.amin(3)
        label = least.argmin(2, keepdim=True)
        own = by_class.gather(2, label[..., None].expand(-1, -1, 1, self.per_class))[:, :, 0]
        return label[..., 0] * self.per_class + own.argmin(2), least.add_(squared.flatten(1, 2)).clamp_(min=0)

    def predict(self, images: Tensor) -> Tensor:
        """Classes (N,) of images (N, ...)."""
        return self.explain(images).predicted

    def through(self, deeper: "EncoderExplanation") -> Self:
        """Take the prototypes of the deeper blocks, which an attribution comes through, from what was fitted on them.

        Raises:
            UserError: they are not of all blocks but the first, with this one's options; nothing was fitted.
        """
        books = [self.codebook, deeper.codebook, *deeper.codebooks[1:]]
        for depth, book in enumerate(books):
            book.expect(type(self).__name__, self.encoder.identity, self.options(depth), "the deeper explanation")
        self.codebooks, self.depths = books, range(len(books))
        return self

    # As data

    def save(self, path: str | Path) -> None:
        """Write the prototypes, of all depths, to a `.safetensors` file."""
        fitted(self.codebooks[0] if self.codebooks else None)
        save_codebooks(path, self.codebooks)

    def load(self, path: str | Path) -> Self:
        """Take the prototypes of a file of `save`.

        Raises:
            UserError: they are of another method, backbone or options, or lack the deeper blocks' that `attributes`
                needs; see also `load_codebooks`.
        """
        books = load_codebooks(path, self.encoder.columns.device)
        for depth, book in zip(self.depths, books, strict=False):
            book.expect(type(self).__name__, self.encoder.identity, self.options(depth), str(path))
        if len(books) < len(self.depths):
            raise UserError(f"{path} was saved without attributes=True: fit anew with it, or load without it.")
        self.codebooks = books[: len(self.depths)]
        return self


def _joined(parts: Sequence[EncoderExplained]) -> EncoderExplained:
    fields = EncoderExplained.__dataclass_fields__
    columns = {name: [getattr(part, name) for part in parts] for name in fields}
    joined: dict[str, Any] = {n: None if values[0] is None else torch.cat(values) for n, values in columns.items()}
    return EncoderExplained(**joined)


class _ClassMaps:
    """The maps of one class's images, batch by batch: kept while there is room, then made anew by the network."""

    def __init__(self, encoder: Encoder, images: Tensor, indices: Tensor, cache_bytes: int):
        self.encoder, self.images = encoder, images
        self.batches, self.free = list(indices.to(images.device).split(encoder.batch)), cache_bytes
        self.cache_bytes = cache_bytes
        device = encoder.columns.device.type
        self.autocast = torch.autocast(
            device, torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
        )
        self.kept: dict[int, tuple[Tensor, ...]] = {}

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for place, batch in enumerate(self.batches):
            if place in self.kept:
                yield self.kept[place]
                continue
            with self.autocast:
                maps = self.encoder.maps(self.images[batch].to(self.encoder.columns.device))
            size = sum(part.nbytes for part in maps)
            if size <= self.free:
                self.kept[place], self.free = maps, self.free - size
            yield maps

    def rows(self, compose: "partial[Tensor]") -> Any:
        """Composite rows (n, D): in one tensor where they and their maps fit, else as chunks that are formed anew."""

        def chunks() -> Iterator[Tensor]:
            for maps in self:
                yield compose(maps).flatten(0, 2)

        maps = next(iter(self))
        if (compose(maps).nbytes + sum(part.nbytes for part in maps)) * len(self.batches) <= self.cache_bytes:
            return torch.cat(list(chunks()))
        return chunks
