"""What grids of pictures share: sizes, bare axes, captions, outlines."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from xcnn.errors import UserError
from xcnn.figures.renderings import Array, Floats, as_tensor
from xcnn.figures.style import FAINT

# In inches.
CELL, LARGE_CELL = 1.5, 1.8  # a picture
CAPTION = 0.2
LINE_HEIGHT = 0.14  # of text at 8 points
BOX = "#30e060"  # the paper's green, light enough to stand out from its black casing without its hue


def new_figure(width: float, height: float, title: str, compress: bool = True) -> Figure:
    """A figure of this size in inches, with a little more for the title; `compress` closes up rows and columns."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02, compress=compress)
    figure = Figure((width, height + 0.3 * bool(title)), layout=layout)
    if title:
        figure.suptitle(title)
    return figure


def outline(axes: Axes, region: NDArray[np.bool_], colour: str = "white") -> None:
    """A line along the cell borders of a region (h, w), cased in black so that it shows on any cell."""
    padded = np.pad(region, 1)
    vertical = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]) - 0.5  # row, column of each border's start
    horizontal = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]) - 0.5
    lines = [((x, y), (x, y + 1)) for y, x in vertical] + [((x, y), (x + 1, y)) for y, x in horizontal]
    for drawn, width in (("black", 2.6), (colour, 1.3)):
        axes.add_collection(LineCollection(lines, colors=drawn, linewidths=width, capstyle="round", clip_on=False))


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


def bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def caption(axes: Axes, text: str, colour: str = FAINT) -> None:
    axes.set_xlabel(text, color=colour, fontsize=8, labelpad=2)


def folded(paragraphs: Sequence[str], inches: float) -> str:
    """Paragraphs with an empty line between them, in lines that fit the width at 8 points."""
    return "\n\n".join(textwrap.fill(paragraph, int(inches * 16.5)) for paragraph in paragraphs)


def wrapped(text: str, width: int) -> str:
    """Lines of at most `width` characters, broken at spaces; the text's own breaks stay."""
    return "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in text.splitlines())


def needed(items: object, name: str) -> None:
    if not items:
        raise UserError(f"{name} is empty; pass at least one to draw.")
