"""Attribution maps of several methods beside each other (Pixel Ablation-CAM, figures 2 to 5).

The paper marks hot places red, as jet does; jet's lightness rises and falls, so it draws edges that are not in the map,
and its red and green look alike to one man in twelve. Ours is inferno, whose lightness rises all the way and whose
hues, from violet over orange to yellow, survive colour blindness. The image below it is grey, so that every hue is
heat, and softened a little: it is there to place the heat, and the sharp one stands beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import matplotlib
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from xcnn.errors import UserError
from xcnn.figures.panels import (
    CAPTION,
    LINE_HEIGHT,
    SMALL,
    caption,
    cell_size,
    colour_bar,
    folded,
    needed,
    new_figure,
    outline,
    picture_with_boxes,
    wrapped,
)
from xcnn.figures.renderings import Array, Floats, as_tensor, heat, upscale
from xcnn.figures.style import FAINT, INK, styled

HEAT = "inferno"
OPACITY = 0.65  # the same for every heat: a rising one would darken bright ground before it brightened it
SOFTNESS = 1.5  # standard deviation in pixels of 224; it also halves the bytes of a PNG
DIMMED = 0.3  # brightness of what is not kept, where it is not black
GRID = "#e8e8e8"

Panel = Callable[[Array, Array], Floats]  # image (3, H, W) in [0, 1] and map (h, w) to a picture (3, H', W')


@dataclass(frozen=True)
class HeatMapRow:
    """One image, and what each method makes of it.

    Attributes:
        image: (H, W, 3) or (3, H, W) uint8.
        title: text below the image, such as its class and confidence.
        maps: maps by method: (h, w) of any range and size for `heat_map_grid`; the kept pixels (H, W), bool or weights
            in [0, 1], for `explanation_grid` and `kept_grid`.
        boxes: (m, 4) x0, y0, x1, y1 in pixels of the image, x1 and y1 exclusive edges; drawn on every panel.
        notes: texts by method below its panel, such as the confidence kept.
        label: text to the left of the row.
    """

    image: NDArray[np.uint8] | Tensor
    title: str
    maps: Mapping[str, Array | NDArray[np.bool_]]
    boxes: Array = field(default_factory=lambda: np.empty((0, 4)))
    notes: Mapping[str, str] = field(default_factory=dict)
    label: str = ""


def overlay(image: Array, activation: Array) -> Floats:
    """Image (3, H, W) in [0, 1], grey and soft, under the heat of a map (h, w): (3, 224, W') or (3, H', 224).

    The map is min-max normalised. A constant map is cold everywhere.
    """
    large = upscale(image)
    grey = ndimage.gaussian_filter(np.tensordot([0.299, 0.587, 0.114], large, 1), SOFTNESS, mode="nearest")
    values = as_tensor(activation)
    return np.moveaxis(_blended(grey, heat(values - values.min(), large.shape[1:])), -1, 0)


@styled
def heat_map_grid(rows: Sequence[HeatMapRow], methods: Sequence[str], title: str = "") -> Figure:
    """Figures 2 and 5: per row an image and the heat of each method's map on it; each map has its own colour scale."""
    figure, axes = panel_grid(rows, methods, title, overlay)
    for row, line in zip(rows, axes, strict=True):
        for method, cell in zip(methods, line[1:], strict=True):
            if len(torch.as_tensor(row.maps[method]).unique()) == 1:
                cell.text(0.5, 0.5, "constant", transform=cell.transAxes, ha="center", va="center", color="white")
    colours = ListedColormap(_blended(np.full(256, 0.5), np.linspace(0, 1, 256)))
    bar = colour_bar(figure, ScalarMappable(cmap=colours), axes, "")
    bar.set_ticks([0, 1], labels=["min", "max"])
    bar.set_label("heat, per map", fontsize=SMALL, labelpad=-10)
    return figure


@styled
def explanation_grid(rows: Sequence[HeatMapRow], methods: Sequence[str], title: str = "") -> Figure:
    """Figure 3: per row an image and each method's explanation map, its kept pixels on black."""
    return panel_grid(rows, methods, title, partial(_kept, rest=0))[0]


@styled
def kept_grid(rows: Sequence[HeatMapRow], methods: Sequence[str], title: str = "") -> Figure:
    """Figure 4: per row, say a share of kept pixels, an image with its boxes and what each method keeps of it.

    What is not kept is dimmed and not black, so that what a method misses in the box can be seen.
    """
    figure, axes = panel_grid(rows, methods, title, partial(_kept, rest=DIMMED))
    for row, line in zip(rows, axes, strict=True):
        for method, cell in zip(methods, line[1:], strict=True):
            outline(cell, np.asarray(torch.as_tensor(row.maps[method]).cpu() >= 0.5))
    return figure


def panel_grid(
    rows: Sequence[HeatMapRow],
    methods: Sequence[str],
    title: str,
    panel: Panel | Mapping[str, Panel],
    below: float = 0,
) -> tuple[Figure, NDArray[np.object_]]:
    """The image of each row and `panel(image, map)` of each method beside it, with boxes, notes and headings.

    Args:
        panel: what draws a map, one for all methods or one for each.
        below: inches left free below the rows.
    """
    needed(rows, "rows")
    needed(methods, "methods")
    panels = panel if isinstance(panel, Mapping) else dict.fromkeys(methods, panel)
    cell_width = cell_size(1 + len(methods), 0.6)
    captions = [
        [folded([text], cell_width) for text in (row.title, *(row.notes.get(name, "") for name in methods))]
        for row in rows
    ]
    heights = [cell_width + CAPTION + LINE_HEIGHT * max(text.count("\n") for text in texts) for texts in captions]
    figure = new_figure((1 + len(methods)) * cell_width + 0.6, sum(heights) + 0.4 + below, title)
    axes = figure.subplots(len(rows), 1 + len(methods), squeeze=False)
    for row, texts, line in zip(rows, captions, axes, strict=True):
        missing = [method for method in methods if method not in row.maps]
        if missing:
            raise UserError(f"{row.title} has no map of {', '.join(missing)}; its maps are of {', '.join(row.maps)}.")
        image = _channels_first(row.image)
        picture_with_boxes(line[0], upscale(image), image.shape[1:], row.boxes)
        line[0].set_ylabel(row.label)
        for method, cell in zip(methods, line[1:], strict=True):
            drawn = panels[method](image, torch.as_tensor(row.maps[method]))
            picture_with_boxes(cell, drawn, image.shape[1:], row.boxes)
        for cell, text in zip(line, texts, strict=True):
            caption(cell, text, INK if cell is line[0] else FAINT)
    for cell, name in zip(axes[0], ("image", *methods), strict=True):
        cell.set_title(wrapped(name, int(cell_width * 15), whole_words=True))
    return figure, axes


def _channels_first(image: NDArray[np.uint8] | Tensor) -> Tensor:
    """(3, H, W) in [0, 1]."""
    values = image.detach().cpu() if isinstance(image, Tensor) else torch.tensor(image)
    if values.dtype != torch.uint8 or values.ndim != 3 or 3 not in (values.shape[0], values.shape[-1]):
        raise UserError(f"image is {tuple(values.shape)} {values.dtype}; pass (H, W, 3) or (3, H, W) of uint8.")
    return (values if values.shape[0] == 3 else values.permute(2, 0, 1)) / 255


def _kept(image: Array, kept: Array, rest: float) -> Floats:
    """The image with what is kept at full brightness and the rest at `rest` of it."""
    weights = as_tensor(kept)
    if weights.shape != image.shape[1:] or not (weights.min() >= 0 and weights.max() <= 1):
        raise UserError(
            f"the kept pixels are {tuple(weights.shape)} for an image of {tuple(image.shape[1:])}; pass bool, or "
            "weights in [0, 1], of the image's size."
        )
    return upscale(image * (rest + (1 - rest) * weights))


def _blended(grey: NDArray[np.floating], values: NDArray[np.floating]) -> Floats:
    """Heat (...) in [0, 1] over grey (...): (..., 3)."""
    return OPACITY * matplotlib.colormaps[HEAT](values)[..., :3] + (1 - OPACITY) * grey[..., None]
