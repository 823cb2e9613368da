"""Grids of numbers, each written on its colour."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError
from xcnn.figures.panels import SMALL, WIDTH, colour_bar, needed, new_figure, outline
from xcnn.figures.style import INK, NEGATIVE, SEQUENTIAL, styled

HATCH = "////"


@styled
def heat_tables(
    panels: Mapping[str, ArrayLike],
    rows: Sequence[float | str],
    columns: Sequence[float | str],
    row_name: str = "α",
    column_name: str = "β",
    label: str = "",
    form: str = ".3f",
    title: str = "",
    vmin: float | None = None,
    vmax: float | None = None,
    hatched: Mapping[str, ArrayLike] | None = None,
    hatched_label: str = "accuracy at chance",
    outlined: Mapping[str, ArrayLike] | None = None,
    outlined_label: str = "",
    abreast: int = 2,
) -> Figure:
    """Grids of numbers over the same two settings, such as before and after, or two losses, on one colour scale.

    Args:
        panels: values (rows, columns) by heading. Each is written on its colour; NaN, which stands for a setting that
            has not been run, is a dash on white.
        rows: values of the first setting.
        columns: values of the second setting.
        row_name: name of the first setting.
        column_name: name of the second setting.
        label: what is measured, and its unit; stands at the colour bar.
        form: format of a number, of digits and type; what rounds to zero has no sign.
        title: heading.
        vmin: lower end of the colour scale; None for the least value of all panels. Figures that shall be compared
            take the same ends.
        vmax: upper end of the colour scale; None for the greatest value of all panels.
        hatched: masks (rows, columns) by heading of the cells to hatch, such as those of networks that learnt nothing.
        hatched_label: what a hatched cell is, for the legend.
        outlined: masks (rows, columns) by heading of the cells to outline, such as those that agree with a paper.
        outlined_label: what an outlined cell is, for the legend.
        abreast: panels in a row.

    Raises:
        UserError: no panel; values or a mask that do not fit the rows and columns; a mask of no panel.
    """
    needed(panels, "panels")
    grids = {name: _fitting(values, rows, columns).astype(float) for name, values in panels.items()}
    masks = [
        {name: _fitting(mask, rows, columns).astype(bool) for name, mask in (given or {}).items()}
        for given in (hatched, outlined)
    ]
    if unknown := {*masks[0], *masks[1]} - {*grids}:
        raise UserError(f"{', '.join(sorted(unknown))} is marked but is no panel; there are: {', '.join(grids)}.")
    found = np.concatenate([grid[np.isfinite(grid)] for grid in grids.values()])
    low = float(found.min(initial=np.inf) if vmin is None else vmin) if len(found) or vmin is not None else 0.0
    high = float(found.max(initial=-np.inf) if vmax is None else vmax) if len(found) or vmax is not None else 1.0
    norm = Normalize(low, high)
    across = min(abreast, len(grids))
    down = -(-len(grids) // across)
    width = min(0.9 + (0.25 + 0.62 * len(columns)) * across, WIDTH)
    figure = new_figure(width, (0.55 + 0.36 * len(rows)) * down + 0.35, title, compress=False)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for cell in axes.flat[len(grids) :]:
        cell.set_visible(False)
    for (name, grid), cell in zip(grids.items(), axes.flat, strict=False):
        _table(cell, grid, norm, form)
        if name in masks[0]:
            for row, column in np.argwhere(masks[0][name]):
                square = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch=HATCH, edgecolor="white", lw=0)
                cell.add_patch(square)
        if name in masks[1]:
            outline(cell, masks[1][name], NEGATIVE, width=2)
        cell.set_xticks(range(len(columns)), [str(column) for column in columns])
        cell.set_yticks(range(len(rows)), [str(row) for row in rows])
        cell.set_title(name)
    for line in axes:
        line[0].set_ylabel(row_name, rotation=0, labelpad=10, ha="right", va="center")
    for cell in axes[-1]:
        cell.set_xlabel(column_name)
    colour_bar(figure, ScalarMappable(norm, SEQUENTIAL), axes, label)
    marks = []
    if any(mask.any() for mask in masks[0].values()):
        marks.append(Patch(facecolor="#8a8a8a", edgecolor="white", hatch=HATCH, lw=0, label=hatched_label))
    if any(mask.any() for mask in masks[1].values()):
        marks.append(Patch(facecolor="white", edgecolor=NEGATIVE, lw=2, label=outlined_label))
    if marks:
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=SMALL)
    return figure


def _fitting(values: ArrayLike, rows: Sequence[float | str], columns: Sequence[float | str]) -> NDArray[np.generic]:
    grid = np.asarray(values)
    if grid.shape != (len(rows), len(columns)):
        raise UserError(f"values are {grid.shape} for {len(rows)} rows and {len(columns)} columns; make them agree.")
    return grid


def _table(axes: Axes, grid: NDArray[np.floating], norm: Normalize, form: str) -> None:
    """The numbers of one grid, each on its colour."""
    shown = np.ma.masked_invalid(grid)
    axes.imshow(shown, cmap=SEQUENTIAL, norm=norm, aspect="auto")
    colours = matplotlib.colormaps[SEQUENTIAL]
    dark = np.ma.filled(np.ma.asarray(norm(shown)) < 0.55, False)
    for (row, column), value in np.ndenumerate(grid):
        text = format(value, f"z{form}").replace("-", "−") if np.isfinite(value) else "–"
        colour = "white" if dark[row, column] else INK
        words = axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=colour)
        if np.isfinite(value):  # a margin of the cell's colour, which keeps hatches off the number
            words.set_path_effects([withStroke(linewidth=4, foreground=colours(norm(value)))])
    axes.set_xticks(np.arange(grid.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(grid.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
