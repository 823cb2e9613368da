"""What grids of pictures share: sizes, bare axes, captions, outlines."""

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from xcnn.errors import UserError
from xcnn.figures.renderings import Array, Floats, as_tensor
from xcnn.figures.style import FAINT

# In inches.
WIDTH = 180 / 25.4  # of a printed page of two columns; no figure need be shrunk to fit it
CELL = 1.5  # a picture, where the width allows
CAPTION = 0.2
LINE_HEIGHT = 0.13  # of text at `SMALL` points
SMALL = 7  # points, the smallest text
BOX = "#30e060"  # the paper's green, light enough to stand out from its black casing without its hue


def new_figure(width: float, height: float, title: str, compress: bool = True) -> Figure:
    """A figure of this size in inches, with a little more for the title; `compress` closes up rows and columns."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02, compress=compress)
    figure = Figure((width, height + 0.3 * bool(title)), layout=layout)
    if title:
        figure.suptitle(title)
    return figure


def cell_size(columns: int, aside: float = 0.0) -> float:
    """Side in inches of each of `columns` pictures in a row, with `aside` inches of the page's width for the rest."""
    return min(CELL, (WIDTH - aside) / columns)


def colour_bar(
    figure: Figure,
    drawn: ScalarMappable,
    axes: NDArray[np.object_] | Sequence[Axes],
    label: str,
    location: Literal["right", "bottom"] = "right",
) -> Colorbar:
    """A thin bar without frame beside the axes, or below them, in the small type of captions."""
    aspect, pad = (45, 0.01) if location == "right" else (25, 0.03)
    bar = figure.colorbar(drawn, ax=axes, location=location, aspect=aspect, pad=pad, fraction=0.02, panchor=False)
    bar.ax.tick_params(length=0, labelsize=SMALL)
    bar.set_label(label, fontsize=SMALL)
    bar.outline.set_visible(False)
    return bar


def outline(axes: Axes, region: NDArray[np.bool_], colour: str = "white", width: float = 1.3) -> None:
    """A line along the cell borders of a region (h, w), `width` points wide, cased in black to show on any cell."""
    padded = np.pad(region, 1)
    vertical = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]) - 0.5  # row, column of each border's start
    horizontal = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]) - 0.5
    lines = [((x, y), (x, y + 1)) for y, x in vertical] + [((x, y), (x + 1, y)) for y, x in horizontal]
    for drawn, line in (("black", 2 * width), (colour, width)):
        axes.add_collection(LineCollection(lines, colors=drawn, linewidths=line, capstyle="round", clip_on=False))


def picture_with_boxes(axes: Axes, picture: Floats, size: Sequence[int], boxes: Array) -> None:
    """A picture, and boxes on it, on the axes of an image of `size` (H, W): pixel (0, 0) has its centre there.

    Args:
        axes: made bare.
        picture: (3, H', W') in [0, 1].
        size: of the image that the boxes belong to.
        boxes: (m, 4) x0, y0, x1, y1 in its pixels, x1 and y1 exclusive edges.
    """
    height, width = size
    axes.imshow(np.moveaxis(picture, 0, -1), extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    bare(axes)
    corners = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, y0, x1, y1 in (as_tensor(boxes) - 0.5).tolist()]
    for colour, line in (("black", 2.6), (BOX, 1.3)):
        edges = PolyCollection(corners, edgecolors=colour, facecolors="none", linewidths=line, snap=True)
        axes.add_collection(edges, autolim=False)


def picture_over_map(axes: Axes, picture: Floats, shape: Sequence[int]) -> None:
    """A picture (3, H, W) on the axes of a map (h, w) over it: location (0, 0) has its centre there."""
    height, width = shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(np.moveaxis(picture, 0, -1), extent=extent, aspect=location_aspect(picture, shape))


def location_aspect(picture: Floats, shape: Sequence[int]) -> float:
    """Height over width of a location when a map (h, w) lies over a picture (3, H, W)."""
    return picture.shape[1] / shape[0] / (picture.shape[2] / shape[1])


def bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def caption(axes: Axes, text: str, colour: str = FAINT) -> None:
    axes.set_xlabel(text, color=colour, fontsize=SMALL, labelpad=2)


def folded(paragraphs: Sequence[str], inches: float) -> str:
    """Paragraphs with an empty line between them, in lines that fit the width at `SMALL` points."""
    return "\n\n".join(textwrap.fill(paragraph, int(inches * 18)) for paragraph in paragraphs)


def wrapped(text: str, width: int, whole_words: bool = False) -> str:
    """Lines of at most `width` characters, broken at spaces; the text's own breaks stay.

    Args:
        whole_words: whether a word that is longer has a line that is longer; else it is broken.
    """
    fill = partial(textwrap.fill, width=width, break_on_hyphens=False, break_long_words=not whole_words)
    return "\n".join(map(fill, text.splitlines()))


def needed(items: object, name: str) -> None:
    if not items:
        raise UserError(f"{name} is empty; pass at least one to draw.")
