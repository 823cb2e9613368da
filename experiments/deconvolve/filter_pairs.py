"""Filters of two trainings in pairs on one image: explained, drawn, and what is recorded of them (table 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from xcnn.evaluation.filters import ExplainedFilter, FilterExplainer
from xcnn.evaluation.selection import ImageChoice
from xcnn.figures import BeforeAfter, filter_comparison
from xcnn.training import area

ENDS = {"index": "_index", "correlation": ""}  # of the names of values, by how the filters are matched


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

    def figure(self, title: str) -> Figure:
        return filter_comparison(
            [BeforeAfter(self.choice.image, b.view, a.view) for b, a in self.pairs], title, self.threshold
        )

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


def matchings(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each matching of a record: its filters, and their mean area before and after. Older records have one."""
    found = record["details"].get("matchings") or {"correlation": record["details"]["filters"]}
    return [
        {
            "name": name,
            "filters": filters,
            "areas": [record["values"][f"{when}{ENDS[name]}"] for when in ("area_before", "area")],
            "correlations": sorted(pair["correlation"] for pair in filters),
        }
        for name, filters in found.items()
    ]
