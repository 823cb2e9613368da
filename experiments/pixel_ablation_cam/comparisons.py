"""What the pages of figures 2 to 5, of localisation and of the tables share: rows by method, claims, blind controls."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from xcnn.figures import Curve
from xcnn.report import Claim, Row, claim, named
from xcnn.report.verdicts import over_seeds, spread

CONTROLS = ("activation_sum", "centre", "random")  # blind to the class
PIXEL = "pixel_ablation_cam"
NAMED = ("grad_cam", "ablation_cam", PIXEL)  # the columns of the paper's tables; wins are among them
Better = Literal["lower", "higher"]


def by_method(row: Row, methods: Sequence[str]) -> list[Row]:
    """A cell that compared several methods as a row for each: its `iou.low/grad_cam` is Grad-CAM's `iou.low`."""
    return [
        replace(
            row,
            method=method,
            mean={
                name.removesuffix(f"/{method}"): value
                for name, value in row.mean.items()
                if name.endswith(f"/{method}")
            },
        )
        for method in methods
    ]


def over_shown(row: Row, column: str, methods: Sequence[str]) -> list[Row]:
    """Rows by method of what a cell recorded of each image that it shows: means, and Pixel Ablation-CAM's differences.

    The images are few, so the intervals of the differences are Student's t.
    """
    shown: list[Mapping[str, float]] = [each[column] for each in row.details["pictures"]]
    found = []
    for one in by_method(row, methods):
        values = {column: statistics.fmean(each[one.method] for each in shown)}
        for other in methods if one.method == PIXEL else ():
            less, name = over_seeds([each[PIXEL] - each[other] for each in shown]), f"{column}.less_{other}"
            values |= {name: less.value, f"{name}_low": less.low, f"{name}_high": less.high}
        found.append(replace(one, mean=values, records=[{**row.records[0], "n": len(shown)}]))
    return found


def claims_of(
    rows: Sequence[Row], metrics: Mapping[str, Better], second: str = "grad_cam", **options: Any
) -> list[Claim]:
    """Pixel Ablation-CAM is better than another method, a claim for each metric."""
    return [claim(rows, metric, PIXEL, second, says, **options) for metric, says in metrics.items()]


def as_good(
    rows: Sequence[Row], metrics: Mapping[str, Better], methods: Sequence[str]
) -> dict[str, dict[tuple[str, ...], list[str]]]:
    """By method, and by the controls whose mean is at least as good as the method's, the metrics in which they are."""
    by_name = {row.method: row for row in rows}
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for method in methods:
        for metric, better in metrics.items():
            if blind := tuple(controls_as_good(by_name, metric, better, method)):
                found.setdefault(method, {}).setdefault(blind, []).append(metric)
    return found


def controls_as_good(rows: Mapping[str, Row], metric: str, better: Better, method: str = PIXEL) -> list[str]:
    """The controls whose mean is at least as good as a method's; none where the method is not measured."""
    sign = 1 if better == "higher" else -1
    return [
        name
        for name in CONTROLS
        if {name, method} <= rows.keys() and sign * rows[name].mean[metric] >= sign * rows[method].mean[metric]
    ]


def apart(rows: Sequence[Row], metrics: Mapping[str, Better]) -> dict[str, dict[str, list[str]]]:
    """By metric, the methods better and worse than Grad-CAM, where the interval of the difference leaves out 0."""
    found: dict[str, dict[str, list[str]]] = {}
    for metric, better in metrics.items():
        sides: dict[str, list[str]] = {"better": [], "worse": []}
        for row in rows:
            low, high = (row.mean.get(named(metric, end)) for end in ("less_low", "less_high"))
            if low is not None and high is not None and not low <= 0 <= high:
                sides["better" if (low > 0) == (better == "higher") else "worse"].append(row.method)
        found[metric] = sides
    return found


def curve_of(row: Row, metrics: Sequence[str], places: Sequence[float] | None = None) -> Curve:
    """A row's means of some metrics with their intervals, as a curve over the places."""
    mean, low, high = zip(*(spread(row, metric).ends for metric in metrics), strict=True)
    return Curve(mean, low, high, places)
