"""Embeddings in the plane, with prototypes (Post-hoc Self-explanation of CNNs, figure 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError
from xcnn.figures.colours import distinct_colours
from xcnn.figures.panels import WIDTH, needed, new_figure
from xcnn.figures.style import INK, styled

Marker = Literal["x", "^", "s"]

LEGEND = 21  # more classes than these are named at their points
COLUMNS = 7  # of the legend
COVERED = 0.5  # of a panel, by all its points if none covered another


@dataclass(frozen=True)
class Marks:
    """Prototypes in the plane: (p, 2) points, and the class of each (p,)."""

    points: ArrayLike
    labels: ArrayLike
    marker: Marker


@dataclass(frozen=True)
class EmbeddingPanel:
    """Embeddings in the plane, with prototypes.

    Attributes:
        name: heading of the panel.
        classes: names of the classes that the labels index; a class has the same colour in every panel that names it.
        train: (n, 2) embedded training images.
        train_labels: (n,) integer classes of the training images.
        test: (m, 2) embedded test images, drawn fainter; may be empty.
        test_labels: (m,) integer classes of the test images.
        marks: prototypes by what they are, such as `KMEx`.
    """

    name: str
    classes: Sequence[str]
    train: ArrayLike
    train_labels: ArrayLike
    test: ArrayLike
    test_labels: ArrayLike
    marks: Mapping[str, Marks] = field(default_factory=dict)


@styled
def embedding_plot(panels: Sequence[EmbeddingPanel], title: str = "") -> Figure:
    """Figure 2: embeddings coloured by class, the test ones fainter, and prototypes among them with white edges.

    Up to 21 classes stand in a legend; more are named at the medians of their training points.

    Raises:
        UserError: no panel; points that are not (n, 2), or labels that do not fit them or the classes.
    """
    needed(panels, "panels")
    classes = list(dict.fromkeys(name for panel in panels for name in panel.classes))
    named = len(classes) > LEGEND
    colours = dict(zip(classes, distinct_colours(len(classes)), strict=True))
    # Names at points need the width of the page, a panel below the other.
    down, across = (len(panels), 1) if named else (1, len(panels))
    width = WIDTH / max(across, 1 if named else 2)
    side = min(width, 5.2)
    legend = 0 if named else 0.17 * -(-len(classes) // COLUMNS) + 0.1
    figure = new_figure(width * across, (side + 0.45) * down + legend, title, compress=False)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for panel, cell in zip(panels, axes, strict=True):
        shades = np.array([to_rgb(colours[name]) for name in panel.classes])
        kinds = [
            Line2D([], [], ls="none", marker="o", color=INK, markersize=3, label="train"),
            Line2D([], [], ls="none", marker="o", color=INK, markersize=3, alpha=0.3, label="test"),
        ]
        train, labels = _labelled(panel, "train", panel.train, panel.train_labels)
        test, test_labels = _labelled(panel, "test", panel.test, panel.test_labels)
        # In square points: all points together would cover half of the panel.
        size = float(np.clip(COVERED * (72 * side) ** 2 / (len(train) + len(test)), 3, 30))
        cell.scatter(*test.T, c=shades[test_labels], s=size, alpha=0.25, linewidths=0, label="test")
        cell.scatter(*train.T, c=shades[labels], s=size, alpha=0.7, linewidths=0, label="train")
        for name, marks in panel.marks.items():
            points, mark_labels = _labelled(panel, name, marks.points, marks.labels)
            kinds.append(Line2D([], [], ls="none", marker=marks.marker, color=INK, label=name))
            cased = shades[mark_labels]
            # A white edge, which no class has, cased in black, which shows on white ground.
            if marks.marker == "x":  # it has no edge of its own
                for width, colour in ((4.6, "black"), (3.6, "white")):
                    cell.scatter(*points.T, c=colour, s=50, marker="x", linewidths=width)
                cell.scatter(*points.T, c=cased, s=50, marker="x", linewidths=1.8, label=name)
                continue
            cell.scatter(*points.T, c="black", s=72, marker=marks.marker, linewidths=0)
            cell.scatter(*points.T, c=cased, s=46, marker=marks.marker, edgecolors="white", linewidths=1.1, label=name)
        cell.set_title(panel.name)
        cell.set_xticks([])
        cell.set_yticks([])
        cell.spines[:].set_visible(True)
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": len(kinds), "columnspacing": 1}
        cell.legend(handles=kinds, handletextpad=0.1, **below)
    if not named:
        dots = [Line2D([], [], ls="none", marker="o", color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=dots, loc="outside lower center", ncols=min(len(dots), COLUMNS), columnspacing=1)
    if named:
        figure.draw_without_rendering()  # so that texts and axes have their places
        for panel, cell in zip(panels, axes, strict=True):
            _name_classes(cell, panel)
    return figure


def _labelled(
    panel: EmbeddingPanel, name: str, points: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    at, of = np.asarray(points, dtype=float), np.asarray(labels)
    if of.shape == (0,):
        at, of = at.reshape(-1, 2), of.astype(int)
    if at.ndim != 2 or at.shape[1] != 2 or of.shape != at.shape[:1]:
        raise UserError(f"{panel.name}, {name}: points are {at.shape} and labels {of.shape}; pass (n, 2) and (n,).")
    if len(of) and not 0 <= of.min() <= of.max() < len(panel.classes):
        raise UserError(
            f"{panel.name}, {name}: labels go from {of.min()} to {of.max()}, but it has {len(panel.classes)} classes."
        )
    return at, of


def _name_classes(axes: Axes, panel: EmbeddingPanel) -> None:
    """Names at the medians of the training points, each moved as little up or down as keeps it clear of the others."""
    train, labels = _labelled(panel, "train", panel.train, panel.train_labels)
    frame, limits = axes.get_window_extent(), (axes.get_xlim(), axes.get_ylim())
    taken: list[Bbox] = []
    for index in np.unique(labels):
        x, y = np.median(train[labels == index], axis=0)
        text = axes.text(x, y, panel.classes[index], ha="center", va="center", fontsize=7, zorder=4)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        box = text.get_window_extent().padded(1)
        box = box.translated(max(frame.x0 - box.x0, 0) + min(frame.x1 - box.x1, 0), 0)
        blocked = [(one.y0 - box.y1, one.y1 - box.y0) for one in taken if one.x0 < box.x1 and box.x0 < one.x1]
        free = [
            move
            for move in sorted([0.0, *chain(*blocked)], key=abs)
            if frame.y0 <= box.y0 + move
            and box.y1 + move <= frame.y1
            and not any(low + 1e-6 < move < high - 1e-6 for low, high in blocked)
        ]
        taken.append(box.translated(0, (free or [0.0])[0]))  # no room for so many names: over the others
        to_x, to_y = axes.transData.inverted().transform((taken[-1].p0 + taken[-1].p1) / 2)
        text.set_position((to_x, to_y))
        axes.plot([x, to_x], [y, to_y], color=INK, linewidth=0.6, zorder=3)
    axes.set(xlim=limits[0], ylim=limits[1])
