"""Filters beside filters: table 1 and figures 1, 5 and 9 of DeConvolve."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from xcnn.figures.panels import (
    CAPTION,
    LINE_HEIGHT,
    SMALL,
    bare,
    caption,
    cell_size,
    colour_bar,
    folded,
    needed,
    new_figure,
    outline,
    picture_over_map,
)
from xcnn.figures.renderings import LINE, Array, as_tensor, encircled, heat, proportionate, upscale
from xcnn.figures.style import FAINT, NEGATIVE, POSITIVE, SEQUENTIAL, styled

EMPTY = "#f0f0f0"  # panel of a dead map


@dataclass(frozen=True)
class FilterView:
    """One filter's map on an image.

    Attributes:
        name: what to call it, such as `relu3/12`.
        activation: (h, w) its map.
        score: its signed score for the class in question.
        text: its description; empty for none.
    """

    name: str
    activation: Array
    score: float
    text: str = ""


@dataclass(frozen=True)
class BeforeAfter:
    """A row of table 1: one image (3, H, W), and a filter on it before and after the loss."""

    image: Array
    before: FilterView
    after: FilterView


@dataclass(frozen=True)
class CombinedMaps:
    """A layer's maps on one image, combined (section 4.2).

    Attributes:
        counts: (h, w) C(p), how many filters are active at each position.
        positions: (h, w) bool, P.
        ratio: share of the active mass that lies in P.
    """

    counts: ArrayLike
    positions: ArrayLike
    ratio: float


@dataclass(frozen=True)
class SuccinctImage:
    """A row of figure 9: an image (3, H, W), and its combined maps by layer before and after the loss."""

    image: Array
    label: str
    before: Mapping[str, CombinedMaps]
    after: Mapping[str, CombinedMaps]


@styled
def filter_comparison(rows: Sequence[BeforeAfter], title: str = "", threshold: float | None = None) -> Figure:
    """Table 1: per row an image, and a filter before and after the loss: its map and both renderings, with words below.

    All maps stand on one colour scale, from 0 to the highest activation of any of them.

    Args:
        rows: one per image and filter.
        title: heading.
        threshold: share t of a map's maximum; the cells above t max, which the words measure, are outlined. None:
            `encircled`'s smoothed contour is drawn in their place.
    """
    needed(rows, "rows")
    cell = cell_size(7, 0.6)
    words = [[folded([view.text] if view.text else [], 3 * cell) for view in (row.before, row.after)] for row in rows]
    told = any(text for pair in words for text in pair)
    heights = []
    for pair in words:
        lines = max(text.count("\n") + bool(text) for text in pair)
        heights += [cell + CAPTION, *([LINE_HEIGHT * lines + 0.05] if told else [])]
    figure = new_figure(7 * cell + 0.6, sum(heights) + 0.5, title, compress=not told)
    grid = figure.add_gridspec(len(heights), 7, height_ratios=heights)
    top = _top(view.activation for row in rows for view in (row.before, row.after))
    pictures: list[Axes] = []
    for index, (row, pair) in enumerate(zip(rows, words, strict=True)):
        line = [figure.add_subplot(grid[index * (1 + told), column]) for column in range(7)]
        pictures += line
        show_picture(line[0], upscale(row.image))
        for view, (mapped, shaded, ringed) in ((row.before, line[1:4]), (row.after, line[4:])):
            drawn = _show_map(mapped, view.activation, top)
            show_picture(shaded, proportionate(row.image, view.activation))
            show_region(ringed, row.image, view.activation, threshold)
            caption(mapped, named(view))
            caption(ringed, signed(view.score), _sign_colour(view.score))
        for place, text in enumerate(pair if told else ()):
            write(figure.add_subplot(grid[2 * index + 1, 1 + 3 * place : 4 + 3 * place]), text)
    heads = ("map", "proportionate", "encircled")
    for column, head in zip(pictures, ["image", *heads, *heads], strict=False):
        column.set_title(head)
    for column, when in ((pictures[2], "before"), (pictures[5], "after")):
        column.set_title(f"{when}\n{column.get_title()}")
    colour_bar(figure, drawn, pictures, "activation")
    return figure


@styled
def feature_map_progression(
    image: Array, maps_by_variant: Mapping[str, ArrayLike], filters: Sequence[int], title: str = ""
) -> Figure:
    """Figure 1: the same filters on the same image as the terms of the loss are added, all on one colour scale.

    The scale goes from 0 to the highest activation drawn, as its square root, so that weak maps are seen beside strong
    ones. A dead map, which is 0 everywhere, is an empty grey panel.

    Args:
        image: (3, H, W) sRGB in [0, 1].
        maps_by_variant: (K, h, w) maps by the name of the loss, from plain to full.
        filters: which of the K to draw.
        title: heading.
    """
    needed(filters, "filters")
    needed(maps_by_variant, "maps_by_variant")
    columns = len(filters) + 1
    cell = cell_size(columns, 0.8)
    chosen = {name: as_tensor(np.asarray(maps))[list(filters)] for name, maps in maps_by_variant.items()}
    top = _top(chosen.values())
    figure = new_figure(columns * cell + 0.8, len(chosen) * cell + 0.3, title)
    axes = figure.subplots(len(chosen), columns, squeeze=False)
    for (variant, maps), line in zip(chosen.items(), axes, strict=True):
        line[1].set_ylabel(variant)
        for activation, panel in zip(maps, line[1:], strict=True):
            drawn = _show_map(panel, activation, top, gamma=0.5)
        line[0].axis("off")
    axes[0, 0].axis("on")
    show_picture(axes[0, 0], upscale(image))
    for name, panel in zip(("image", *(f"filter {index}" for index in filters)), axes[0], strict=True):
        panel.set_title(name)
    colour_bar(figure, drawn, axes, "activation (square-root scale)")
    return figure


@styled
def renderings_figure(image: Array, views: Sequence[FilterView], threshold: float = 0.5, title: str = "") -> Figure:
    """Figure 5: per filter the image, its heat, and the proportionate and encircled renderings, both readings."""
    needed(views, "views")
    cell = cell_size(5, 0.8)
    figure = new_figure(5 * cell + 0.8, len(views) * cell + 0.3, title)
    axes = figure.subplots(len(views), 5, squeeze=False)
    for view, line in zip(views, axes, strict=True):
        show_picture(line[0], upscale(image))
        drawn = line[1].imshow(heat(view.activation, upscale(image).shape[1:]), cmap=SEQUENTIAL, vmin=0, vmax=1)
        bare(line[1])
        show_picture(line[2], proportionate(image, view.activation))
        show_picture(line[3], encircled(image, view.activation, threshold))
        show_picture(line[4], encircled(image, view.activation, threshold, literal=True))
        line[0].set_ylabel(named(view))
    heads = ("image", "heat", "proportionate", "encircled", "encircled, literal")
    for column, head in zip(axes[0], heads, strict=True):
        column.set_title(head)
    colour_bar(figure, drawn, axes, "heat, from a map's minimum to its maximum")
    return figure


@styled
def succinct_learning(images: Sequence[SuccinctImage], title: str = "") -> Figure:
    """Figure 9: how many filters are active at each position, before and after, with P outlined and the ratio.

    The maps of a layer stand on one colour scale, before and after and for all images, from 0 to their highest count.
    """
    needed(images, "images")
    layers = list(images[0].before)
    columns = 1 + 2 * len(layers)
    cell = cell_size(columns)
    figure = new_figure(columns * cell, len(images) * (cell + CAPTION) + 1.1, title)
    axes = figure.subplots(len(images), columns, squeeze=False)
    for row, line in zip(images, axes, strict=True):
        show_picture(line[0], upscale(row.image))
        caption(line[0], row.label)
    for index, layer in enumerate(layers):
        columns_of_layer = axes[:, 1 + 2 * index : 3 + 2 * index]
        pairs = [(row.before[layer], row.after[layer]) for row in images]
        top = _top(combined.counts for pair in pairs for combined in pair)
        for pair, line in zip(pairs, columns_of_layer, strict=True):
            for combined, panel in zip(pair, line, strict=True):
                counts = np.asarray(combined.counts)
                drawn = panel.imshow(counts, interpolation="nearest", cmap=SEQUENTIAL, vmin=0, vmax=top)
                # A line narrower than a location, so that the counts below it can be seen.
                thin = min(1.0, 0.2 * 72 * cell / max(counts.shape))
                outline(panel, np.asarray(combined.positions, dtype=bool), width=thin)
                panel.set_anchor("N")  # level with the image
                bare(panel)
                caption(panel, f"ratio {combined.ratio:.2f}")
        for panel, when in zip(columns_of_layer[0], ("before", "after"), strict=True):
            panel.set_title(f"{layer}\n{when}")
        colour_bar(figure, drawn, columns_of_layer, f"active filters, {layer}", location="bottom")
    figure.supxlabel("outlined: the positions P", fontsize=SMALL)
    return figure


def show_picture(axes: Axes, image: NDArray[np.floating]) -> None:
    axes.imshow(np.moveaxis(image, 0, -1))
    axes.set_anchor("N")  # below its heading, and level with the text beside it
    bare(axes)


def _show_map(axes: Axes, activation: Array, top: float, gamma: float = 1.0) -> AxesImage:
    """A map as it is, cell by cell, from 0 to `top`; a dead one as an empty panel. Returns what a colour bar needs."""
    values = as_tensor(activation).numpy()
    dead = not values.max() > 0
    norm = PowerNorm(gamma, 0, top)
    drawn = axes.imshow(np.ma.masked_array(values, dead), interpolation="nearest", cmap=SEQUENTIAL, norm=norm)
    if dead:
        axes.set_facecolor(EMPTY)
        axes.text(0.5, 0.5, "dead", transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=SMALL)
    axes.set_anchor("N")
    bare(axes)
    return drawn


def show_region(axes: Axes, image: Array, activation: Array, threshold: float | None) -> None:
    """The image with the map's active region outlined, as `filter_comparison` says."""
    if threshold is None:
        show_picture(axes, encircled(image, activation))
        return
    values = as_tensor(activation).double().numpy()  # as the describer takes it, so that no cell is on the edge
    picture_over_map(axes, upscale(image), values.shape)
    outline(axes, values > threshold * values.max(), to_hex(LINE))
    axes.set_anchor("N")
    bare(axes)


def _top(maps: Iterable[ArrayLike | Array]) -> float:
    """The highest value of any map; 1 where all are dead, so that a colour scale has a length."""
    return max(float(np.max(np.asarray(each))) for each in maps) or 1.0


def write(axes: Axes, text: str) -> None:
    axes.axis("off")
    words = axes.text(0, 1, text, va="top", fontsize=SMALL, linespacing=1.25, transform=axes.transAxes)
    words.set_in_layout(False)


def signed(score: float) -> str:
    return f"score {score:+.2g}".replace("-", "−")


def _sign_colour(score: float) -> str:
    return POSITIVE if score > 0 else NEGATIVE if score < 0 else FAINT


def named(view: FilterView) -> str:
    return view.name if view.activation.max() > 0 else f"{view.name}, dead"
