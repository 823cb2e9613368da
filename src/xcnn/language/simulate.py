"""Simulation: from a description's words alone, where and on which images a filter fires (Bills et al. 2023).

A simulator reads claims and looks at images; it never sees the filter. Each claim says of each cell of an image how
well the cell fits it, in [0, 1], and the prediction is the mean over the claims that can be looked up, so that one
wrong word does not silence the others:

- `position`: a Gaussian around the middle of that ninth of the picture, as wide as the dispersion that the words claim,
  and at least a sixth of the side.
- `colours`: share of the cell's pixels of each colour named, weighted by the claimed shares. `colour`: of one.
- `edges`: share of the cell's pixels that are an edge where the claim is, or are none where it is not.
- `fires_for`, `class`: 1 on images of the classes named, else 0; a claim of no class in particular says nothing.
- `part`: share of the cell's pixels that belong to the part, or to the `object`, where the images have masks.
- `dead`: 0 everywhere, whatever else is said.

All other claims are about the image that was described (`predicted`), the class (`score`) or the form of the region
(`area`, `components`, `border`, `orientation`): nothing follows from them for another image.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xcnn.colour import BASIC_TERMS, basic_terms
from xcnn.language.describer import Claim
from xcnn.language.measured import EDGE, POSITIONS, lightness_gradient
from xcnn.language.verify import OBJECT

NARROWEST = 1 / 6  # standard deviation of a position: the nine fields are a third of the side


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images as a reader of a description sees them, cell by cell.

    Attributes:
        labels: (N,) name of each image's class.
        colours: (N, terms, h, w) share of each cell's pixels by basic colour term.
        edges: (N, h, w) share of each cell's pixels that are on an edge.
        parts: by name, (N, h, w) share of each cell's pixels; `object` for all parts together. Empty without masks.
    """

    labels: Sequence[str]
    colours: Tensor
    edges: Tensor
    parts: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        images: Tensor,
        labels: Sequence[str],
        size: tuple[int, int],
        parts: Tensor | None = None,
        names: Sequence[str] = (),
    ) -> "Scenes":
        """Look at images.

        Args:
            images: (N, 3, H, W) sRGB in [0, 1].
            labels: (N,) name of each image's class.
            size: (h, w), cells of a filter's map.
            parts: (N, H, W), 0 for the background, else one more than the part's index into `names`.
            names: of the parts.
        """

        def shares(masks: Tensor) -> Tensor:
            return functional.adaptive_avg_pool2d(masks.float(), size)

        terms = basic_terms(images.movedim(1, -1).reshape(-1, 3)).reshape(len(images), *images.shape[2:])
        colours = torch.stack([shares(terms == index) for index in range(len(BASIC_TERMS))], 1)
        edges = shares(lightness_gradient(images) >= EDGE)
        found = {}
        if parts is not None:
            found = {
                name: shares(parts == index) for index, name in enumerate(names, start=1) if (parts == index).any()
            }
            found[OBJECT] = shares(parts > 0)
        return cls(labels, colours, edges, found)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, h, w)."""
        return self.edges.shape[0], self.edges.shape[1], self.edges.shape[2]


def simulate(claims: Sequence[Claim], scenes: Scenes) -> Tensor:
    """(N, h, w) in [0, 1]: how strongly the words say that the filter fires; a constant where they say nothing."""
    said = {claim.kind: claim.value for claim in claims}
    if said.get("dead"):
        return torch.zeros(scenes.shape)
    votes = [
        vote
        for claim in claims
        if claim.kind in _VOTES and (vote := _VOTES[claim.kind](claim.value, scenes, said)) is not None
    ]
    return torch.stack([vote.expand(scenes.shape) for vote in votes]).mean(0) if votes else torch.zeros(scenes.shape)


def vocabulary(scenes: Scenes) -> list[Claim]:
    """Every single word that can be looked up: colours, positions, the images' classes, edges, and parts."""
    return [
        *(Claim("colour", term) for term in BASIC_TERMS),
        *(Claim("position", name) for name in POSITIONS),
        *(Claim("class", name) for name in sorted(set(scenes.labels))),
        Claim("edges", 1.0),
        *(Claim("part", name) for name in scenes.parts),
    ]


def _position(name: str, scenes: Scenes, said: Mapping[str, Any]) -> Tensor | None:
    if name not in POSITIONS:
        return None
    dispersion = said.get("dispersion", 0)
    width = max(float(dispersion) / math.sqrt(2), NARROWEST)  # the dispersion has both axes in it
    return gaussian(scenes.shape[1:], divmod(POSITIONS.index(name), 3), width)


def gaussian(size: tuple[int, int], field: tuple[int, int], width: float) -> Tensor:
    """(h, w), 1 in the middle of a field (row, column) of the 3 x 3 fields.

    Args:
        size: (h, w).
        field: row and column in 0..2.
        width: standard deviation, in sides of the picture.
    """
    row, column = (
        ((torch.arange(cells) + 0.5) / cells - (place + 0.5) / 3).square()
        for cells, place in zip(size, field, strict=True)
    )
    return torch.exp(-(row[:, None] + column) / (2 * width**2))


def _colours(shares: Mapping[str, float], scenes: Scenes, said: Mapping[str, Any]) -> Tensor | None:
    known = {term: share for term, share in shares.items() if term in BASIC_TERMS}
    total = sum(known.values())
    if not total:
        return None
    weights = torch.tensor([known.get(term, 0.0) / total for term in BASIC_TERMS])
    return torch.einsum("t,nthw->nhw", weights, scenes.colours)


def _edges(share: float, scenes: Scenes, said: Mapping[str, Any]) -> Tensor | None:
    return share * scenes.edges + (1 - share) * (1 - scenes.edges)


def _classes(names: Mapping[str, float] | Sequence[str], scenes: Scenes, said: Mapping[str, Any]) -> Tensor | None:
    known = set(names) & set(scenes.labels)
    if not known:
        return None
    return torch.tensor([float(label in known) for label in scenes.labels])[:, None, None]


def _part(name: str, scenes: Scenes, said: Mapping[str, Any]) -> Tensor | None:
    return scenes.parts.get(name)


_VOTES: dict[str, Callable[[Any, Scenes, Mapping[str, Any]], Tensor | None]] = {
    "position": _position,
    "colours": _colours,
    "colour": lambda term, scenes, said: _colours({term: 1.0}, scenes, said),
    "edges": _edges,
    "fires_for": _classes,
    "class": lambda name, scenes, said: _classes([name], scenes, said),
    "part": _part,
}
