"""How sure a network may be: reliability diagrams, and what prediction sets cover."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xcnn.errors import UserError
from xcnn.figures.panels import WIDTH, needed, new_figure
from xcnn.figures.style import FAINT, GRID, MARKERS, PALETTE, styled


@styled
def uncertainty_figure(
    reliabilities: Mapping[str, tuple[ArrayLike, ArrayLike]],
    coverages: Mapping[str, Sequence[float]],
    sizes: Mapping[str, float],
    asked: float,
    band: tuple[float, float],
    title: str = "",
) -> Figure:
    """Accuracy over confidence, the coverage of each kind of set in every split, and the mean size of the sets.

    Args:
        reliabilities: by name, mean confidence and accuracy of bins, (bins,) each; NaN where a bin is empty.
        coverages: by kind of set, the share of covered images in each split.
        sizes: by kind of set, the mean number of classes in a set.
        asked: coverage that was asked for.
        band: ends of the exact interval of one split's coverage; drawn behind.
        title: heading.

    Raises:
        UserError: nothing to draw, or kinds of sets with a size and without coverages.
    """
    needed(reliabilities, "reliabilities")
    needed(coverages, "coverages")
    if sizes.keys() != coverages.keys():
        raise UserError(f"sizes of {', '.join(sizes)} and coverages of {', '.join(coverages)}: pass both of each.")
    figure = new_figure(WIDTH, 2.6, title, compress=False)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.3, 0.9])
    _reliability(left, reliabilities)
    names = list(coverages)
    middle.axvspan(*band, color=GRID, lw=0, zorder=0)
    middle.axvline(asked, color=FAINT, linewidth=0.8, zorder=1)
    for row, (values, colour) in enumerate(zip(coverages.values(), _colours(names), strict=True)):
        jitter = row + 0.5 * (np.random.default_rng(0).random(len(values)) - 0.5)
        middle.plot(values, jitter, "o", color=colour, markersize=2, alpha=0.5, markeredgewidth=0)
        middle.plot(np.mean(values), row, "D", color=colour, markeredgecolor="white", markersize=6)
    middle.set_xlabel("coverage, a point for each split")
    right.barh(range(len(names)), [sizes[name] for name in names], color=_colours(names), height=0.6)
    for row, name in enumerate(names):
        right.annotate(
            f"{sizes[name]:.2f}", (sizes[name], row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7
        )
    right.set_xlim(0, 1.25 * max(sizes.values()))
    right.set_xlabel("classes in a set, mean")
    for axes in (middle, right):
        axes.set_yticks(range(len(names)), names if axes is middle else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
    return figure


def _colours(names: Sequence[str]) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(len(names))]


def _reliability(axes: Axes, reliabilities: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (1, 1)))
    for index, (name, (confidence, accuracy)) in enumerate(reliabilities.items()):
        x, y = (np.asarray(values, dtype=float) for values in (confidence, accuracy))
        drawn = ~np.isnan(x)
        axes.plot(x[drawn], y[drawn], color=PALETTE[index], marker=MARKERS[index], markersize=4, label=name)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.legend(loc="lower right")
