"""Estimates with their intervals: beside what a paper printed, and as differences from a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xcnn.errors import UserError
from xcnn.figures.panels import needed, new_figure, wrapped
from xcnn.figures.style import GRID, NEGATIVE, POSITIVE, styled


@dataclass(frozen=True)
class Estimate:
    """A metric of a method under a protocol, with its interval; NaN where it is undefined."""

    protocol: str
    metric: str
    method: str
    value: float
    low: float
    high: float


@styled
def protocol_plot(
    estimates: Sequence[Estimate], paper: Mapping[str, Mapping[str, float]] | None = None, title: str = ""
) -> Figure:
    """Table 1 under every protocol: a row of panels per protocol, a column per metric, a point per method.

    Protocols, metrics and methods stand in the order of their first estimate; the panels of a metric share their scale.

    Args:
        estimates: one per protocol, metric and method. A dash stands for one that is missing or NaN.
        paper: the paper's value by metric and method: a vertical mark in every protocol's panel.
        title: heading.

    Raises:
        UserError: none, or two for the same place; a metric or method of the paper that no estimate has.
    """
    needed(estimates, "estimates")
    paper = paper or {}
    places = {(each.protocol, each.metric, each.method): each for each in estimates}
    protocols, metrics, methods = (list(dict.fromkeys(names)) for names in zip(*places, strict=True))
    if len(places) < len(estimates):
        raise UserError("two estimates have the same protocol, metric and method; pass one for each.")
    unknown = {*paper} - {*metrics} | {name for values in paper.values() for name in values} - {*methods}
    if unknown:
        raise UserError(f"the paper's {', '.join(sorted(unknown))} is in no estimate; name it as the estimates do.")
    height = 0.17 * len(methods) + 0.2
    figure = new_figure(1.9 + 1.9 * len(metrics), height * len(protocols) + 0.9, title, compress=False)
    axes = figure.subplots(len(protocols), len(metrics), squeeze=False, sharex="col", sharey=True)
    for protocol, line in zip(protocols, axes, strict=True):
        for metric, cell in zip(metrics, line, strict=True):
            for row, method in enumerate(methods):
                found = places.get((protocol, metric, method))
                if found and np.isfinite(found.value):
                    cell.plot([found.low, found.high], [row, row], color=POSITIVE, solid_capstyle="butt")
                    cell.plot(found.value, row, "o", color=POSITIVE, markersize=4)
                else:
                    cell.text(0.02, row, "–", transform=cell.get_yaxis_transform(), va="center")
                if method in paper.get(metric, {}):
                    cell.plot(paper[metric][method], row, "|", color=NEGATIVE, markersize=10, markeredgewidth=2)
            cell.grid(color=GRID, linewidth=0.6)
            cell.locator_params(axis="x", nbins=7)
            cell.set_axisbelow(True)
            cell.tick_params(axis="y", length=0)
        line[0].set_yticks(range(len(methods)), methods)
        line[0].set_ylabel(wrapped(protocol, max(int(height * 12), 10)), fontweight="bold")
    axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    for metric, cell in zip(metrics, axes[0], strict=True):
        cell.set_title(wrapped(metric, 26))
    marks = [Line2D([], [], color=POSITIVE, marker="o", markersize=4, label="ours, 95 % interval")]
    if paper:
        marks.append(Line2D([], [], color=NEGATIVE, marker="|", markersize=10, mew=2, ls="none", label="paper"))
    figure.legend(handles=marks, loc="outside lower right", ncols=2)
    return figure
