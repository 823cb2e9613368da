"""Estimates with their intervals, beside what a paper printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xcnn.errors import UserError
from xcnn.figures.panels import WIDTH, needed, new_figure, wrapped
from xcnn.figures.style import GRID, NEGATIVE, POSITIVE, styled

Printed = float | tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A metric of a method under a protocol, with its interval; NaN where it is undefined.

    Attributes:
        protocol: name of the protocol, data set or network, which is a row of panels; may be empty.
        metric: name of the metric and its unit, which is a column of panels.
        method: name of the method, which is a line of each panel.
        value: the estimate.
        low: lower end of its interval.
        high: upper end of its interval.
    """

    protocol: str
    metric: str
    method: str
    value: float
    low: float
    high: float


@styled
def protocol_plot(
    estimates: Sequence[Estimate], paper: Mapping[str, Mapping[str, Printed]] | None = None, title: str = ""
) -> Figure:
    """Ours beside the paper's: a row of panels per protocol, a column per metric, a line per method.

    Protocols, metrics and methods stand in the order of their first estimate; the panels of a metric share their scale.
    For one table, whose protocol is the paper's, all estimates have the empty protocol.

    Args:
        estimates: one per protocol, metric and method. A dash stands for one that is missing or NaN.
        paper: the printed values by metric and method, each a number or a pair of it and half the length of its
            interval; a hollow diamond just below ours, in the panels of every protocol.
        title: heading.

    Raises:
        UserError: no estimate, or two for the same place; a metric or method of the paper that no estimate has.
    """
    figure, axes, places, methods = _panels(estimates, title)
    paper = paper or {}
    metrics = list(dict.fromkeys(metric for _, metric, _ in places))
    unknown = {*paper} - {*metrics} | {name for values in paper.values() for name in values} - {*methods}
    if unknown:
        raise UserError(f"the paper's {', '.join(sorted(unknown))} is in no estimate; name it as the estimates do.")
    for (protocol, metric), cell in axes.items():
        for row, method in enumerate(methods):
            found = places.get((protocol, metric, method))
            apart = 0.17 if method in paper.get(metric, {}) else 0.0
            if found and np.isfinite(found.value):
                _interval(cell, row - apart, found.value, found.low, found.high, POSITIVE, filled=True)
            else:
                cell.text(0.02, row - apart, "–", transform=cell.get_yaxis_transform(), va="center")
            if method in paper.get(metric, {}):
                printed = paper[metric][method]
                value, half = printed if isinstance(printed, tuple) else (printed, 0.0)
                _interval(cell, row + apart, value, value - half, value + half, NEGATIVE, filled=False, marker="D")
    marks = [Line2D([], [], color=POSITIVE, marker="o", markersize=4, label="ours, 95 % interval")]
    if paper:
        marks.append(Line2D([], [], color=NEGATIVE, marker="D", markersize=3.5, mfc="white", ls="none", label="paper"))
    figure.legend(handles=marks, loc="outside lower right", ncols=2)
    return figure


def _panels(
    estimates: Sequence[Estimate], title: str
) -> tuple[Figure, dict[tuple[str, str], Axes], dict[tuple[str, str, str], Estimate], list[str]]:
    """Empty panels by protocol and metric with the methods as lines, the estimates by their places, and the methods."""
    needed(estimates, "estimates")
    places = {(each.protocol, each.metric, each.method): each for each in estimates}
    protocols, metrics, methods = (list(dict.fromkeys(names)) for names in zip(*places, strict=True))
    if len(places) < len(estimates):
        raise UserError("two estimates have the same protocol, metric and method; pass one for each.")
    height = 0.19 * len(methods) + 0.2
    width = min(1.9 + 1.9 * len(metrics), WIDTH)
    figure = new_figure(width, height * len(protocols) + 0.9, title, compress=False)
    axes = figure.subplots(len(protocols), len(metrics), squeeze=False, sharex="col", sharey=True)
    for cell in axes.flat:
        cell.grid(axis="x", color=GRID, linewidth=0.6)
        cell.locator_params(axis="x", nbins=4)
        cell.set_axisbelow(True)
        cell.tick_params(axis="y", length=0)
        for edge in range(1, len(methods)):
            cell.axhline(edge - 0.5, color=GRID, linewidth=0.6, zorder=0)
    for protocol, line in zip(protocols, axes, strict=True):
        line[0].set_yticks(range(len(methods)), methods)
        line[0].set_ylabel(wrapped(protocol, max(int(height * 12), 10)), fontweight="bold")
    axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    for metric, cell in zip(metrics, axes[0], strict=True):
        cell.set_title(wrapped(metric, int(width / len(metrics) * 11)))
    by_place = {
        (protocol, metric): axes[row, column]
        for row, protocol in enumerate(protocols)
        for column, metric in enumerate(metrics)
    }
    return figure, by_place, places, methods


def _interval(
    axes: Axes, row: float, value: float, low: float, high: float, colour: str, filled: bool, marker: str = "o"
) -> None:
    if high > low:
        axes.plot([low, high], [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
    face = colour if filled else "white"
    size = 4 if marker == "o" else 3.5
    axes.plot(value, row, marker, color=colour, markerfacecolor=face, markersize=size, markeredgewidth=1)
