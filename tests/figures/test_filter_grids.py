"""What the grids show, read back from the figure."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from xcnn.errors import UserError
from xcnn.figures import (
    BeforeAfter,
    CombinedMaps,
    FilterView,
    SuccinctImage,
    encircled,
    feature_map_progression,
    filter_comparison,
    heat,
    proportionate,
    renderings_figure,
    save_png,
    signed_filters,
    succinct_learning,
    upscale,
)

IMAGE = torch.linspace(0, 1, 3 * 32 * 32).view(3, 32, 32)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog")


def view(index: int, score: float = 0.1, text: str = "") -> FilterView:
    activation = torch.rand(8, 8, generator=torch.Generator().manual_seed(index))
    return FilterView(f"relu3/{index}", activation, score, text)


def picture(axes: Axes) -> np.ndarray:
    """What the axes show: (3, H, W), or (h, w) for a map."""
    values = np.asarray(axes.images[0].get_array())
    return np.moveaxis(values, -1, 0) if values.ndim == 3 else values


def test_filter_comparison(tmp_path: Path) -> None:
    dead = FilterView("relu3/9", torch.zeros(8, 8), 0.0)
    rows = [
        BeforeAfter(IMAGE, view(0, -0.2, "A first text."), view(1, 0.3, "A second.")),
        BeforeAfter(IMAGE, view(2), dead),
    ]
    figure = filter_comparison(rows)
    first, second = figure.axes[:6], figure.axes[6:]
    expected = [
        upscale(IMAGE),
        proportionate(IMAGE, rows[0].before.activation),
        encircled(IMAGE, rows[0].before.activation),
        proportionate(IMAGE, rows[0].after.activation),
        encircled(IMAGE, rows[0].after.activation),
    ]
    for axes, values in zip(first, expected, strict=False):
        np.testing.assert_array_equal(picture(axes), values)
    assert [axes.get_xlabel() for axes in first[1:5]] == ["relu3/0", "score −0.2", "relu3/1", "score +0.3"]
    assert first[5].texts[0].get_text() == "Before: A first text.\n\nAfter: A second."
    assert second[3].get_xlabel() == "relu3/9, dead"
    assert len(filter_comparison([BeforeAfter(IMAGE, view(0), view(1))]).axes) == 5  # no column for texts


def test_long_texts_stay_in_their_row() -> None:
    long = view(0, text="Measured, no language model: " + "a word and another " * 40)
    figure = filter_comparison([BeforeAfter(IMAGE, long, long)] * 2)
    figure.draw_without_rendering()
    upper, lower = (figure.axes[row * 6 + 5].texts[0].get_window_extent() for row in (0, 1))
    assert lower.y1 < upper.y0
    assert lower.y0 > 0
    assert upper.x1 < figure.bbox.x1


def test_feature_map_progression() -> None:
    maps = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
    alive = maps.clone()
    alive[3] = 0
    figure = feature_map_progression(IMAGE, {"plain": maps, "+ area": alive}, [1, 3])
    rows = figure.axes[:3], figure.axes[3:]
    np.testing.assert_array_equal(picture(rows[0][0]), upscale(IMAGE))
    np.testing.assert_array_equal(picture(rows[0][1]), maps[1].numpy())
    np.testing.assert_array_equal(picture(rows[1][2]), alive[3].numpy())
    assert rows[0][1].images[0].get_clim() == (0, pytest.approx(float(maps[1].max())))
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["dead"]
    assert [axes.get_title() for axes in rows[0]] == ["image", "filter 1", "filter 3"]
    assert [row[1].get_ylabel() for row in rows] == ["plain", "+ area"]


def test_renderings_figure() -> None:
    shown = view(4)
    axes = renderings_figure(IMAGE, [shown], threshold=0.7).axes
    for cell, values in zip(
        axes,
        [
            upscale(IMAGE),
            heat(shown.activation),
            proportionate(IMAGE, shown.activation),
            encircled(IMAGE, shown.activation, 0.7),
            encircled(IMAGE, shown.activation, 0.7, literal=True),
        ],
        strict=True,
    ):
        np.testing.assert_array_equal(picture(cell), values)


def test_signed_filters() -> None:
    probabilities = np.array([0.3, 0.05, 0.1, 0.2, 0.15, 0.14, 0.06])
    explanation = "First paragraph.\n\nSecond."
    negative = [view(3, -0.2), view(4, -0.1)]
    figure = signed_filters(IMAGE, [view(1)], negative, probabilities, CLASSES, "automobile", explanation, "A title")
    picture_axes, bars, *cells, words = figure.axes
    np.testing.assert_array_equal(picture(picture_axes), upscale(IMAGE))
    # The five most probable, the last of them making room for the class in question.
    assert [label.get_text() for label in bars.get_yticklabels()] == ["airplane", "cat", "deer", "dog", "automobile"]
    assert [bar.get_width() for bar in bars.patches] == [0.3, 0.2, 0.15, 0.14, 0.05]  # type: ignore[attr-defined]
    assert len({bar.get_facecolor() for bar in bars.patches[:4]}) == 1
    assert bars.patches[4].get_facecolor() != bars.patches[0].get_facecolor()
    drawn = [cell for cell in cells if cell.images]
    assert [cell.get_xlabel() for cell in drawn] == [
        "relu3/1\nscore +0.1",
        "relu3/3\nscore −0.2",
        "relu3/4\nscore −0.1",
    ]
    np.testing.assert_array_equal(picture(drawn[2]), encircled(IMAGE, negative[1].activation))
    assert words.texts[0].get_text() == explanation


def test_signed_filters_without_any() -> None:
    figure = signed_filters(IMAGE, [], [view(1, -0.1)], np.full(7, 1 / 7), CLASSES, "bird")
    heads = [panel.get_suptitle() for panel in figure.subfigs[1].subfigs]
    assert heads == ["No filters raise the probability of bird", "Filters that lower the probability of bird"]


def test_succinct_learning() -> None:
    before = CombinedMaps(np.array([[4, 4], [4, 1]]), np.array([[True, True], [True, False]]), 0.85)
    after = CombinedMaps(np.array([[2, 0], [0, 0]]), np.array([[True, False], [False, False]]), 1.0)
    figure = succinct_learning([SuccinctImage(IMAGE, "ship", {"relu3": before}, {"relu3": after})])
    image, left, right = figure.axes
    np.testing.assert_array_equal(picture(image), upscale(IMAGE))
    np.testing.assert_array_equal(picture(left), before.counts)
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 4)
    assert (left.get_xlabel(), right.get_xlabel()) == ("ratio 0.85 · max 4", "ratio 1.00 · max 2")
    outlines = [
        axes.collections[0].get_segments() for axes in (left, right) if isinstance(axes.collections[0], LineCollection)
    ]
    assert len(outlines[0]) == 8  # an L of three cells
    corners = {tuple(point) for segment in outlines[1] for point in segment.tolist()}
    assert corners == {(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)}


def test_refusals() -> None:
    with pytest.raises(UserError, match="one probability per class"):
        signed_filters(IMAGE, [], [], np.ones(3), CLASSES, "bird")
    with pytest.raises(UserError, match="airplane, automobile"):
        signed_filters(IMAGE, [], [], np.ones(7), CLASSES, "zebra")
    with pytest.raises(UserError, match="rows is empty"):
        filter_comparison([])
    with pytest.raises(UserError, match="views is empty"):
        renderings_figure(IMAGE, [])


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        figure = signed_filters(
            IMAGE, [view(1)], [view(2, -0.1)], np.full(7, 1 / 7), CLASSES, "bird", "Words.", "Title"
        )
        save_png(figure, tmp_path / name, dpi=60)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
