"""Filters of two trainings in pairs on one image: matched, explained, drawn (DeConvolve, table 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from xcnn.evaluation.filters import ExplainedFilter, FilterExplainer
from xcnn.evaluation.selection import ImageChoice
from xcnn.figures import BeforeAfter, filter_comparison
from xcnn.filters import filter_correlation, match_filters, paired
from xcnn.training import area


@dataclass(frozen=True)
class FilterPairs:
    """Pairs (before, after) of filters, explained on one image."""

    choice: ImageChoice
    pairs: Sequence[tuple[ExplainedFilter, ExplainedFilter]]
    threshold: float

    @classmethod
    def explained(
        cls, before: FilterExplainer, after: FilterExplainer, choice: ImageChoice, chosen: Sequence[tuple[int, int]]
    ) -> "FilterPairs":
        """The pairs of these filters, explained for the image's class."""
        pairs = [(before.explain(choice, choice.label, b), after.explain(choice, choice.label, a)) for b, a in chosen]
        return cls(choice, pairs, after.threshold)

    def areas(self) -> tuple[float, float]:
        """Mean area of the filters' maps before and after; a silent one has 0."""
        sides = [
            torch.stack([torch.as_tensor(f.view.activation) for f in side]) for side in zip(*self.pairs, strict=True)
        ]
        before, after = (float(area(maps[None]).mean()) for maps in sides)
        return before, after

    def claims(self) -> tuple[int, int]:
        """Claims in the words of all filters, and how many of them hold when they are measured again."""
        each = [f for pair in self.pairs for f in pair]
        return sum(len(f.description.claims) for f in each), sum(f.supported for f in each)

    def as_record(self, correlation: Tensor) -> list[dict[str, Any]]:
        """Plain values for a cell's details; the correlations (K, K) are of filters before with those after."""
        return [
            {
                "before": b.as_record(),
                "after": a.as_record(),
                "correlation": round(float(correlation[b.index, a.index]), 3),
            }
            for b, a in self.pairs
        ]


def pairs_figure(found: Sequence[FilterPairs], title: str) -> Figure:
    """All pairs before and after, each on its image."""
    rows = [BeforeAfter(pairs.choice.image, b.view, a.view) for pairs in found for b, a in pairs.pairs]
    return filter_comparison(rows, title, found[0].threshold)


def matched_pairs(
    before: FilterExplainer, after: FilterExplainer, choice: ImageChoice, images: Tensor, top: int
) -> tuple[dict[str, FilterPairs], Tensor]:
    """Pairs of filters matched by `index` and by `correlation`, half chosen by the score before and half by that after.

    Args:
        images: (n, C, H, W) in [0, 1], over which filters are correlated.
        top: number of pairs.

    Returns:
        The pairs by how they are matched, and the correlations (K, K) of filters before with those after.
    """
    with torch.inference_mode():
        old, new = (side.split.trunk(images) for side in (before, after))
    partners = {"index": torch.arange(new.shape[1]), "correlation": match_filters(new, old)[0]}
    first, second = (side.ranked(choice.image, choice.label) for side in (before, after))
    found = {
        name: FilterPairs.explained(before, after, choice, paired(first, second, partner, top))
        for name, partner in partners.items()
    }
    return found, filter_correlation(old, new)
