"""Grids of numbers, each written on its colour."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xcnn.errors import UserError
from xcnn.figures.style import SEQUENTIAL, styled


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
