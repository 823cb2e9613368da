"""The filters for and against a class, with their words: figures 6 to 8 of DeConvolve."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike, NDArray

from xcnn.errors import UserError
from xcnn.figures.filter_grids import FilterView, named, show_picture, show_region, signed, write
from xcnn.figures.panels import CAPTION, LINE_HEIGHT, SMALL, WIDTH, caption, folded, new_figure
from xcnn.figures.renderings import Array, upscale
from xcnn.figures.style import NEGATIVE, POSITIVE, styled

# In inches.
TOP = 1.5  # the image and the bars
PICTURE = 1.2  # a filter
WORDS = WIDTH / 2 - PICTURE - 0.25  # beside it


@styled
def signed_filters(
    image: Array,
    positive: Sequence[FilterView],
    negative: Sequence[FilterView],
    probabilities: ArrayLike,
    classes: Sequence[str],
    target: str,
    title: str = "",
    threshold: float | None = None,
) -> Figure:
    """Figures 6 to 8: an image, its class probabilities, and the filters for and against the class, with their words.

    Args:
        image: (3, H, W) sRGB in [0, 1].
        positive: filters with positive score, strongest first; the left half. May be empty.
        negative: filters with negative score, strongest first; the right half. May be empty.
        probabilities: (classes,) of the prediction.
        classes: class names.
        target: the class that the scores are about; its bar is marked.
        title: heading.
        threshold: share t of a map's maximum; the cells above t max, which the words measure, are outlined. None:
            `encircled`'s smoothed contour is drawn in their place.

    Raises:
        UserError: probabilities that do not fit the classes, a target that is none of them, or words for some filters
            only.
    """
    values = np.asarray(probabilities)
    if values.shape != (len(classes),) or target not in classes:
        raise UserError(
            f"{values.shape} probabilities for {len(classes)} classes and target {target}; pass one probability per "
            f"class and one of {', '.join(classes)}."
        )
    silent = [view.name for view in (*positive, *negative) if not view.text]
    told = len(silent) < len(positive) + len(negative)
    if told and silent:
        raise UserError(f"{', '.join(silent)} has no words, but others do; pass a text for every filter or for none.")
    abreast = 1 if told else 2  # filters beside each other in a half
    halves = [[views[i : i + abreast] for i in range(0, len(views), abreast)] for views in (positive, negative)]
    rows = max(1, *map(len, halves))
    heights = [PICTURE + 2 * CAPTION] * rows
    for row in range(rows):
        texts = [folded([half[row][0].text], WORDS) for half in halves if told and row < len(half)]
        heights[row] = max([heights[row], *(LINE_HEIGHT * (text.count("\n") + 1) + 0.1 for text in texts)])
    figure = new_figure(WIDTH, TOP + 0.3 + sum(heights), title, compress=False)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[TOP, 0.3 + sum(heights)])[:, 0]
    picture, bars = upper.subplots(1, 2, width_ratios=[1, 2])
    show_picture(picture, upscale(image))
    _probability_bars(bars, values, classes, target)
    for panel, half, colour, head in zip(
        lower.subfigures(1, 2, squeeze=False)[0], halves, (POSITIVE, NEGATIVE), ("raise", "lower"), strict=True
    ):
        panel.suptitle(
            f"{'Filters that' if half else 'No filters'} {head} the probability of {target}",
            color=colour,
            fontsize=8,
            fontweight="bold",
        )
        _half(panel, image, half, heights, told, threshold)
    return figure


def _half(
    panel: SubFigure,
    image: Array,
    rows: Sequence[Sequence[FilterView]],
    heights: Sequence[float],
    told: bool,
    threshold: float | None,
) -> None:
    """Filters of one sign, in rows of these heights: one and its words in a row, or two without words."""
    axes = panel.subplots(
        len(heights), 2, squeeze=False, height_ratios=heights, width_ratios=[PICTURE, WORDS if told else PICTURE]
    )
    for cell in axes.flat:
        cell.axis("off")
    for views, line in zip(rows, axes, strict=False):
        for view, cell in zip(views, line, strict=False):
            cell.axis("on")
            show_region(cell, image, view.activation, threshold)
            caption(cell, f"{named(view)}\n{signed(view.score)}")
        if told:
            write(line[1], folded([views[0].text], WORDS))


def _probability_bars(axes: Axes, values: NDArray[np.floating], classes: Sequence[str], target: str) -> None:
    shown = np.argsort(-values, kind="stable")[:5]
    if classes.index(target) not in shown:
        shown[-1] = classes.index(target)
    names = [classes[index] for index in shown]
    axes.barh(names, values[shown], color=[POSITIVE if name == target else "#c4c4c4" for name in names], height=0.7)
    for row, value in enumerate(values[shown]):
        axes.text(value + 0.02, row, f"{value:.2f}", va="center", fontsize=SMALL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("predicted probability", loc="left")
