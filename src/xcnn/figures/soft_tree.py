"""A soft decision tree drawn with its filters, and the path of an image through it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError
from xcnn.figures.panels import SMALL, WIDTH, bare, caption, needed, new_figure
from xcnn.figures.renderings import upscale
from xcnn.figures.style import FAINT, GRID, POSITIVE, styled

SIGNED = "RdBu_r"  # blue to the left, red to the right


@dataclass(frozen=True)
class Step:
    """A decision on the path of an image.

    Attributes:
        name: of the node.
        filter: (H, W), positive weights send to the right.
        right: probability of going right.
    """

    name: str
    filter: ArrayLike
    right: float


@styled
def soft_tree_figure(filters: Sequence[ArrayLike], leaves: Sequence[str], title: str = "") -> Figure:
    """The first levels of a tree: a filter for each inner node, level by level, and what is below the last of them.

    Args:
        filters: (H, W) each, 2^levels - 1; positive weights (red) send to the right.
        leaves: 2^levels texts, from left to right; their own line breaks are kept.
        title: heading.

    Raises:
        UserError: numbers that make no tree.
    """
    levels = int(np.log2(len(filters) + 1))
    if levels < 1 or len(filters) != 2**levels - 1 or len(leaves) != 2**levels:
        raise UserError(
            f"{len(filters)} filters and {len(leaves)} leaves make no tree: 2^levels - 1 and 2^levels do, such as "
            f"{2 ** max(levels, 1) - 1} and {2 ** max(levels, 1)}."
        )
    side = min(0.8, WIDTH / 2 ** (levels - 1) * 0.95)
    figure = Figure((WIDTH, (side + 0.25) * levels + 0.5 + 0.3 * bool(title)))
    if title:
        figure.suptitle(title)
    width, height = figure.get_size_inches()
    drawn: list[Axes] = []
    for node, values in enumerate(filters):
        level = int(np.log2(node + 1))
        place = (node + 1 - 2**level + 0.5) / 2**level
        bottom = height - 0.3 * bool(title) - (side + 0.25) * (level + 1) + 0.1
        axes = figure.add_axes((place - side / width / 2, bottom / height, side / width, side / height))
        _signed(axes, np.asarray(values, dtype=float))
        if node:
            parent = drawn[(node - 1) // 2]
            line = ConnectionPatch(
                (0.5, 0), (0.5, 1), coordsA=parent.transAxes, coordsB=axes.transAxes, color=FAINT, linewidth=0.8
            )
            line.set_zorder(-1)
            figure.add_artist(line)
        drawn.append(axes)
    for place, text in enumerate(leaves):
        x = (place + 0.5) / 2**levels
        figure.text(x, 0.35 / height, text, ha="center", va="center", fontsize=SMALL)
    return figure


@styled
def soft_path_figure(
    image: ArrayLike, steps: Sequence[Step], distribution: ArrayLike, classes: Sequence[str], title: str = ""
) -> Figure:
    """An image, the filters on its most probable path with their decisions, and the distribution of its leaf.

    Args:
        image: (C, H, W) in [0, 1], of one channel or three.
        steps: from the root on.
        distribution: (classes,) of the leaf.
        classes: names.
        title: heading.
    """
    needed(steps, "steps")
    columns = min(len(steps), 5)
    rows = -(-len(steps) // columns)
    figure = new_figure(WIDTH, 1.45 * rows + 0.2, title, compress=False)
    grid = figure.add_gridspec(rows, columns + 3, width_ratios=[1] * (columns + 1) + [0.25, 1.2])
    shown = np.asarray(image, dtype=float)
    axes = figure.add_subplot(grid[:, 0])
    axes.imshow(np.moveaxis(np.asarray(upscale(np.repeat(shown, 3 // len(shown), 0))), 0, -1))
    bare(axes)
    for place, step in enumerate(steps):
        cell = figure.add_subplot(grid[place // columns, 1 + place % columns])
        _signed(cell, np.asarray(step.filter, dtype=float))
        side, probability = ("right", step.right) if step.right > 0.5 else ("left", 1 - step.right)
        caption(cell, f"{step.name}\n{side}, {probability:.2f}")
    bars = figure.add_subplot(grid[:, -1])
    values = np.asarray(distribution, dtype=float)
    order = np.argsort(-values, kind="stable")[:10]
    bars.barh([classes[index] for index in order], values[order], color=POSITIVE, height=0.7)
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_title("leaf")
    bars.tick_params(axis="y", length=0)
    bars.grid(axis="x", color=GRID, linewidth=0.6)
    bars.set_axisbelow(True)
    return figure


def _signed(axes: Axes, values: NDArray[np.float64]) -> None:
    """A map (H, W) about 0."""
    most = float(np.quantile(abs(values), 0.99)) or 1.0
    axes.imshow(values, cmap=SIGNED, vmin=-most, vmax=most, interpolation="nearest")
    bare(axes)
