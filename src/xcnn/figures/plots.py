"""Curves, comparisons and grids of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xcnn.errors import UserError
from xcnn.figures.style import FAINT, MARKERS, PALETTE, SEQUENTIAL, styled


@dataclass(frozen=True)
class AblationPoint:
    """One method of an ablation: mean and standard deviation over seeds of a metric and of accuracy."""

    method: str
    metric: float
    metric_std: float
    accuracy: float
    accuracy_std: float


@styled
def score_ramp(curves: Mapping[str, ArrayLike], target: str = "", title: str = "") -> Figure:
    """Section 3.2's ramp: change of the class probability as a filter's map goes from 0 to 1, a curve per filter.

    Args:
        curves: (steps,) by filter, from level 0 to level 1 in equal steps; the last value is the filter's score.
        target: the class.
        title: heading.
    """
    if not curves:
        raise UserError("curves is empty; pass at least one to draw.")
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=FAINT, linewidth=0.8)
    ends = []
    for index, (name, curve) in enumerate(curves.items()):
        values = np.asarray(curve, dtype=float)
        colour = PALETTE[index % len(PALETTE)]
        style = ("-", "--", ":")[index // len(PALETTE) % 3]
        axes.plot(np.linspace(0, 1, len(values)), values, color=colour, linestyle=style)
        ends.append((values[-1], name, colour))
    low, high = axes.get_ylim()
    heights = _spread([end for end, _, _ in ends], gap=(high - low) * 0.052)
    for height, (end, name, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            f"{name}  {end:+.2g}".replace("-", "−"),
            (1, end),
            xytext=(1.05, height),
            va="center",
            color=colour,
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1},
            annotation_clip=False,
        )
    axes.set_xlim(0, 1)
    axes.set_xlabel("activation level of the filter's map")
    axes.set_ylabel(f"change in probability{f' of {target}' if target else ''}")
    axes.set_title(title)
    return figure


@styled
def ablation_plot(points: Sequence[AblationPoint], metric: str, title: str = "") -> Figure:
    """Accuracy against a metric, a mark per method with its standard deviations over seeds; up and right is better."""
    if not points:
        raise UserError("points is empty; pass at least one to draw.")
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for index, point in enumerate(points):
        axes.errorbar(
            point.metric,
            point.accuracy,
            xerr=point.metric_std,
            yerr=point.accuracy_std,
            color=PALETTE[index % len(PALETTE)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.6,
            elinewidth=1.2,
            linestyle="none",
            label=point.method,
        )
    axes.margins(0.1)
    axes.grid(color="#e8e8e8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(metric)
    axes.set_ylabel("accuracy")
    axes.set_title(title)
    figure.legend(loc="outside right upper")
    return figure


@styled
def heat_table(
    values: ArrayLike,
    rows: Sequence[float | str],
    columns: Sequence[float | str],
    row_name: str = "α",
    column_name: str = "β",
    label: str = "",
    form: str = ".3f",
    title: str = "",
) -> Figure:
    """A grid of numbers (rows, columns), each written on its colour; NaN (not run) is left blank with a dash."""
    grid = np.asarray(values, dtype=float)
    if grid.shape != (len(rows), len(columns)):
        raise UserError(f"values are {grid.shape} for {len(rows)} rows and {len(columns)} columns; make them agree.")
    figure = Figure(figsize=(1.9 + 0.72 * len(columns), 1.1 + 0.48 * len(rows)), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_invalid(grid)
    drawn = axes.imshow(shown, cmap=SEQUENTIAL, aspect="auto")
    dark = np.ma.filled(np.ma.asarray(drawn.norm(shown)) < 0.55, False)
    for (row, column), value in np.ndenumerate(grid):
        text = format(value, form).replace("-", "−") if np.isfinite(value) else "–"
        colour = "white" if dark[row, column] else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [str(column) for column in columns])
    axes.set_yticks(range(len(rows)), [str(row) for row in rows])
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(column_name)
    axes.set_ylabel(row_name, rotation=0, labelpad=10)
    axes.set_title(title)
    bar = figure.colorbar(drawn, ax=axes, label=label, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved apart to at least `gap`, in their order, about the mean of each group that had to move."""
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []  # each: centre, count
    for height in np.asarray(heights, dtype=float)[order]:
        groups.append([height, 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            centre, count = groups.pop()
            below, under = groups.pop()
            groups.append([(centre * count + below * under) / (count + under), count + under])
    placed = [centre + gap * (i - (count - 1) / 2) for centre, count in groups for i in range(int(count))]
    spread = np.empty(len(placed))
    spread[order] = placed
    return spread.tolist()
