"""Filters beside filters: table 1 and figures 1, 5, 6 to 8 and 9 of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError
from xcnn.figures.panels import (
    CAPTION,
    CELL,
    LARGE_CELL,
    LINE_HEIGHT,
    bare,
    caption,
    folded,
    needed,
    new_figure,
    outline,
)
from xcnn.figures.renderings import Array, encircled, heat, proportionate, upscale
from xcnn.figures.style import FAINT, NEGATIVE, POSITIVE, SEQUENTIAL, styled


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
def filter_comparison(rows: Sequence[BeforeAfter], title: str = "") -> Figure:
    """Table 1: per row an image, and both renderings of a filter before and after the loss, with scores and texts."""
    needed(rows, "rows")
    texts = [
        [f"{when}: {view.text}" for when, view in (("Before", row.before), ("After", row.after)) if view.text]
        for row in rows
    ]
    told = any(texts)
    wrapped = [folded(paragraphs, 4.3) for paragraphs in texts]
    heights = [max(CELL + CAPTION, LINE_HEIGHT * text.count("\n") + 0.3) for text in wrapped]
    figure = new_figure(5 * CELL + 4.4 * told, sum(heights) + 0.2, title, compress=not told)
    axes = figure.subplots(
        len(rows), 5 + told, squeeze=False, width_ratios=[CELL] * 5 + [4.4] * told, height_ratios=heights
    )
    heads = ("image", "before: proportionate", "before: encircled", "after: proportionate", "after: encircled")
    for row, text, line in zip(rows, wrapped, axes, strict=True):
        _show(line[0], upscale(row.image))
        for view, left, right in ((row.before, line[1], line[2]), (row.after, line[3], line[4])):
            _show(left, proportionate(row.image, view.activation))
            _show(right, encircled(row.image, view.activation))
            caption(left, _named(view))
            caption(right, _signed(view.score), _sign_colour(view.score))
        if told:
            _write(line[5], text)
    for column, head in zip(axes[0], heads, strict=False):
        column.set_title(head)
    return figure


@styled
def feature_map_progression(
    image: Array, maps_by_variant: Mapping[str, ArrayLike], filters: Sequence[int], title: str = ""
) -> Figure:
    """Figure 1: the same filters on the same image as the terms of the loss are added.

    Args:
        image: (3, H, W).
        maps_by_variant: (K, h, w) maps by the name of the loss, from plain to full.
        filters: which of the K to draw. Each map is drawn from 0 to its own maximum; a dead one says so.
        title: heading.
    """
    needed(filters, "filters")
    needed(maps_by_variant, "maps_by_variant")
    figure = new_figure((len(filters) + 1) * CELL + 0.3, len(maps_by_variant) * CELL + 0.2, title)
    axes = figure.subplots(len(maps_by_variant), len(filters) + 1, squeeze=False)
    for index, ((variant, maps), line) in enumerate(zip(maps_by_variant.items(), axes, strict=True)):
        if index == 0:
            _show(line[0], upscale(image))
        else:
            line[0].axis("off")
        line[1].set_ylabel(variant)
        for filter_index, cell_axes in zip(filters, line[1:], strict=True):
            _show_map(cell_axes, np.asarray(maps)[filter_index])
    for filter_index, cell_axes in zip(filters, axes[0, 1:], strict=True):
        cell_axes.set_title(f"filter {filter_index}")
    axes[0, 0].set_title("image")
    return figure


@styled
def renderings_figure(image: Array, views: Sequence[FilterView], threshold: float = 0.5, title: str = "") -> Figure:
    """Figure 5: per filter the image, its heat, and the proportionate and encircled renderings, both readings."""
    needed(views, "views")
    figure = new_figure(5 * LARGE_CELL + 0.2, len(views) * LARGE_CELL + 0.2, title)
    axes = figure.subplots(len(views), 5, squeeze=False)
    for view, line in zip(views, axes, strict=True):
        _show(line[0], upscale(image))
        line[1].imshow(heat(view.activation, upscale(image).shape[1:]), cmap=SEQUENTIAL, vmin=0, vmax=1)
        bare(line[1])
        _show(line[2], proportionate(image, view.activation))
        _show(line[3], encircled(image, view.activation, threshold))
        _show(line[4], encircled(image, view.activation, threshold, literal=True))
        line[0].set_ylabel(_named(view))
    heads = ("image", "heat", "proportionate", "encircled", "encircled, literal")
    for column, head in zip(axes[0], heads, strict=True):
        column.set_title(head)
    return figure


@styled
def signed_filters(
    image: Array,
    positive: Sequence[FilterView],
    negative: Sequence[FilterView],
    probabilities: ArrayLike,
    classes: Sequence[str],
    target: str,
    explanation: str = "",
    title: str = "",
) -> Figure:
    """Figures 6 to 8: an image, its class probabilities, the filters for and against the class, and the words.

    Args:
        image: (3, H, W).
        positive: filters with positive score, strongest first; drawn in one row. May be empty.
        negative: likewise, with negative score.
        probabilities: (classes,) of the prediction.
        classes: class names.
        target: the class that the scores are about; its bar is marked.
        explanation: text to set beside the maps; paragraphs are split at empty lines.
        title: heading.
    """
    values = np.asarray(probabilities)
    if values.shape != (len(classes),) or target not in classes:
        raise UserError(
            f"{values.shape} probabilities for {len(classes)} classes and target {target}; pass one probability per "
            f"class and one of {', '.join(classes)}."
        )
    columns = max(len(positive), len(negative), 1)
    text = folded(explanation.split("\n\n"), 3.4)
    widths = [2.5, columns * CELL + 0.2, *([3.5] if text else [])]
    height = max(2 * (CELL + 2 * CAPTION + 0.3), LINE_HEIGHT * text.count("\n") + 0.4)
    figure = new_figure(sum(widths), height, title)
    panels = figure.subfigures(1, len(widths), width_ratios=widths, wspace=0.02, squeeze=False)[0]
    picture, bars = panels[0].subplots(2, 1, height_ratios=[1, 1])
    _show(picture, upscale(image))
    _probability_bars(bars, values, classes, target)
    rows = panels[1].subfigures(2, 1, squeeze=False)[:, 0]
    for panel, views, colour, head in (
        (rows[0], positive, POSITIVE, f"raise the probability of {target}"),
        (rows[1], negative, NEGATIVE, f"lower the probability of {target}"),
    ):
        _map_row(panel, image, views, columns, colour, head)
    if text:
        _write(panels[2].subplots(), text)
    return figure


@styled
def succinct_learning(images: Sequence[SuccinctImage], title: str = "") -> Figure:
    """Figure 9: how many filters are active at each position, before and after, with P outlined and the ratio.

    Before and after share one scale in each row and layer.
    """
    needed(images, "images")
    layers = list(images[0].before)
    columns = 1 + 2 * len(layers)
    figure = new_figure(columns * CELL, len(images) * (CELL + CAPTION) + 0.4, title)
    axes = figure.subplots(len(images), columns, squeeze=False)
    for row, line in zip(images, axes, strict=True):
        _show(line[0], upscale(row.image))
        caption(line[0], row.label)
        for index, layer in enumerate(layers):
            pair = (row.before[layer], row.after[layer])
            top = max(float(np.max(combined.counts)) for combined in pair)
            for combined, cell_axes in zip(pair, line[1 + 2 * index :], strict=False):
                counts = np.asarray(combined.counts)
                cell_axes.imshow(counts, interpolation="nearest", cmap=SEQUENTIAL, vmin=0, vmax=top or 1)
                outline(cell_axes, np.asarray(combined.positions, dtype=bool))
                bare(cell_axes)
                caption(cell_axes, f"ratio {combined.ratio:.2f} · max {counts.max():g}")
    for index, layer in enumerate(layers):
        axes[0, 1 + 2 * index].set_title(f"{layer}, before")
        axes[0, 2 + 2 * index].set_title(f"{layer}, after")
    figure.supxlabel(
        "brightness: filters active at a position, one scale per pair · outline: the positions P", fontsize=8
    )
    return figure


def _map_row(panel: SubFigure, image: Array, views: Sequence[FilterView], columns: int, colour: str, head: str) -> None:
    panel.suptitle(f"{'Filters that' if views else 'No filters'} {head}", color=colour, fontsize=9.5, fontweight="bold")
    axes = panel.subplots(1, columns, squeeze=False)[0]
    for cell in axes[len(views) :]:
        cell.axis("off")
    for view, cell in zip(views, axes, strict=False):
        _show(cell, encircled(image, view.activation))
        caption(cell, f"{_named(view)}\n{_signed(view.score)}")


def _probability_bars(axes: Axes, values: NDArray[np.floating], classes: Sequence[str], target: str) -> None:
    shown = np.argsort(-values, kind="stable")[:5]
    if classes.index(target) not in shown:
        shown[-1] = classes.index(target)
    names = [classes[index] for index in shown]
    axes.barh(names, values[shown], color=[POSITIVE if name == target else "#c4c4c4" for name in names], height=0.7)
    for row, value in enumerate(values[shown]):
        axes.text(value + 0.02, row, f"{value:.2f}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("predicted probability")


def _show(axes: Axes, image: NDArray[np.floating]) -> None:
    axes.imshow(np.moveaxis(image, 0, -1))
    axes.set_anchor("N")  # below its heading, and level with the text beside it
    bare(axes)


def _show_map(axes: Axes, activation: NDArray[np.floating]) -> None:
    """A map as it is, cell by cell, from 0 to its maximum."""
    top = float(activation.max())
    axes.imshow(activation, interpolation="nearest", cmap=SEQUENTIAL, vmin=0, vmax=top or 1)
    if top <= 0:
        axes.text(0.5, 0.5, "dead", transform=axes.transAxes, ha="center", va="center", color="white")
    bare(axes)


def _write(axes: Axes, text: str) -> None:
    axes.axis("off")
    words = axes.text(0, 1, text, va="top", fontsize=8, linespacing=1.25, transform=axes.transAxes)
    words.set_in_layout(False)


def _signed(score: float) -> str:
    return f"score {score:+.2g}".replace("-", "−")


def _sign_colour(score: float) -> str:
    return POSITIVE if score > 0 else NEGATIVE if score < 0 else FAINT


def _named(view: FilterView) -> str:
    return view.name if view.activation.max() > 0 else f"{view.name}, dead"
