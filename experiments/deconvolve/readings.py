"""Readings of section 4.2's ratio against the paper's two numbers: six of the text, and pairs of its two settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from xcnn.figures import heat_tables
from xcnn.report import PaperNumber, Row

READINGS = (
    "succinctness",
    "count_inside",
    "count_inside_to_outside",
    "black_positions",
    "black_pixels",
    "covered_once",
)


def by_layer(names: Sequence[str], layers: Sequence[str]) -> list[str]:
    """The metrics of these names in each layer, and over layers."""
    return [f"{name}{where}" for name in names for where in (*(f".{layer}" for layer in layers), "")]


def matching(before: Row, after: Row, keys: Sequence[str], printed: tuple[PaperNumber, PaperNumber]) -> list[str]:
    """The metrics that round to the paper's numbers, both before and after."""
    ends = list(zip((before, after), printed, strict=True))
    return [
        key
        for key in keys
        if all(key in row.mean and abs(row.mean[key] - number.value) <= number.half_unit for row, number in ends)
    ]


def pairs_of(row: Row, layer: str) -> list[str]:
    """The metrics `succinctness@<t>/<share>` of a row, over layers."""
    end = f".{layer}"
    return sorted(name.removesuffix(end) for name in row.mean if "@" in name and name.endswith(end))


def pairs_facts(
    before: Row, after: Row, layers: Sequence[str], printed: tuple[PaperNumber, PaperNumber]
) -> dict[str, Any]:
    """How many pairs there are, which give the paper's numbers, and the nearest of them with its two values."""
    names = pairs_of(before, layers[0])
    keys = by_layer(names, layers)

    def distance(key: str) -> float:
        return max(abs(row.mean[key] - number.value) for row, number in zip((before, after), printed, strict=True))

    nearest = min(keys, key=distance)
    return {
        "n": len(names),
        "matching": matching(before, after, keys, printed),
        "nearest": nearest,
        "values": (before.mean[nearest], after.mean[nearest]),
    }


def pairs_figure(rows: Mapping[str, Row], layer: str) -> Figure:
    """Succinctness, mean over layers, over both settings: a panel for each method."""
    settings = [name.partition("@")[2].split("/") for name in pairs_of(next(iter(rows.values())), layer)]
    thresholds, shares = (sorted({pair[i] for pair in settings}, key=float) for i in (0, 1))
    panels = {
        method: [[row.mean.get(f"succinctness@{t}/{share}", math.nan) for share in shares] for t in thresholds]
        for method, row in rows.items()
    }
    label = "succinctness, mean over layers"
    return heat_tables(panels, thresholds, shares, "t", "share of the largest count", label, ".2f")
