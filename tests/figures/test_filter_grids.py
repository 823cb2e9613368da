"""What the grids show, read back from the figure."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

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
    succinct_learning,
    upscale,
)
from xcnn.figures.filter_grids import EMPTY
from xcnn.language import FilterEvidence
from xcnn.language.measured import measure

IMAGE = torch.linspace(0, 1, 3 * 32 * 32).view(3, 32, 32)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog")


def view(index: int, score: float = 0.1, text: str = "") -> FilterView:
    activation = torch.rand(8, 8, generator=torch.Generator().manual_seed(index))
    return FilterView(f"relu3/{index}", activation, score, text)


def picture(axes: Axes) -> np.ndarray:
    """What the axes show: (3, H, W), or (h, w) for a map."""
    values = np.asarray(axes.images[0].get_array())
    return np.moveaxis(values, -1, 0) if values.ndim == 3 else values


def test_filter_comparison() -> None:
    dead = FilterView("relu3/9", torch.zeros(8, 8), 0.0)
    rows = [
        BeforeAfter(IMAGE, view(0, -0.2, "A first text."), view(1, 0.3, "A second.")),
        BeforeAfter(IMAGE, view(2), dead),
    ]
    figure = filter_comparison(rows)
    first, words, second = figure.axes[:7], figure.axes[7:9], figure.axes[9:16]
    expected = [
        upscale(IMAGE),
        rows[0].before.activation,
        proportionate(IMAGE, rows[0].before.activation),
        encircled(IMAGE, rows[0].before.activation),
        rows[0].after.activation,
        proportionate(IMAGE, rows[0].after.activation),
        encircled(IMAGE, rows[0].after.activation),
    ]
    for axes, values in zip(first, expected, strict=True):
        np.testing.assert_array_equal(picture(axes), values)
    highest = max(float(each.activation.max()) for each in (rows[0].before, rows[0].after, rows[1].before))
    for panel in (first[1], first[4], second[1], second[4]):
        assert panel.images[0].get_clim() == (0, pytest.approx(highest))  # one scale for all
    assert [axes.get_xlabel() for axes in first[1:]] == ["relu3/0", "", "score −0.2", "relu3/1", "", "score +0.3"]
    assert [axes.texts[0].get_text() for axes in words] == ["A first text.", "A second."]
    assert second[4].get_xlabel() == "relu3/9, dead"
    assert [text.get_text() for text in second[4].texts] == ["dead"]
    silent = filter_comparison([BeforeAfter(IMAGE, view(0), view(1))])
    assert len(silent.axes) == 7 + 1  # no words, a colour bar


def test_the_outline_is_the_mask_of_the_words() -> None:
    """The cells above t of the map's maximum, which the describer measures, and no other."""
    activation = torch.zeros(8, 8)
    activation[2, 3], activation[5, 6], activation[0, 0] = 1.0, 0.2, 0.1
    shown = FilterView("relu3/0", activation, 0.1)
    axes = filter_comparison([BeforeAfter(IMAGE, shown, shown)], threshold=0.2).axes[3]
    # 0.2 in float32 is above 0.2, for the describer too.
    claims = {claim.kind: claim.value for claim in measure(_evidence(activation, 0.2))}
    cells = {tuple(np.mean(square, 0)) for square in squares(axes)}
    assert cells == {(3.0, 2.0), (6.0, 5.0)}
    assert claims["area"] == len(cells) / 64
    assert axes.get_images()[0].get_extent() == [-0.5, 7.5, 7.5, -0.5]


def squares(axes: Axes) -> list[np.ndarray]:
    """Corners of the outlined cells, where each region is a single cell of four sides."""
    (line,) = [part for part in axes.collections[1:] if isinstance(part, LineCollection)]
    sides = [np.asarray(segment) for segment in line.get_segments()]
    found: dict[tuple[float, ...], list[np.ndarray]] = {}
    for side in sides:
        for centre in ((0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)):
            found.setdefault(tuple(side.mean(0) + centre), []).append(side)
    return [np.concatenate(four) for four in found.values() if len(four) == 4]


def _evidence(activation: torch.Tensor, threshold: float) -> FilterEvidence:
    return FilterEvidence(
        "relu3", 0, IMAGE, activation, "bird", "bird", 0.1, CLASSES, torch.full((7,), torch.nan), threshold
    )


def test_long_texts_stay_in_their_row() -> None:
    long = view(0, text="Measured, no language model: " + "a word and another " * 20)
    figure = filter_comparison([BeforeAfter(IMAGE, long, long)] * 2)
    figure.draw_without_rendering()
    written = [axes for axes in figure.axes if not axes.images and axes.texts]
    left, right, below = (axes.texts[0].get_window_extent() for axes in written[:3])
    next_row = figure.axes[9].get_window_extent()
    assert left.x1 < right.x0
    assert right.x1 < figure.bbox.x1
    assert left.y0 > next_row.y1
    assert below.y0 > 0


def test_feature_map_progression() -> None:
    maps = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
    alive = 2 * maps
    alive[3] = 0
    alive[0, 0, 0] = 50  # not drawn
    figure = feature_map_progression(IMAGE, {"plain": maps, "+ area": alive}, [1, 3])
    rows = figure.axes[:3], figure.axes[3:6]
    np.testing.assert_array_equal(picture(rows[0][0]), upscale(IMAGE))
    np.testing.assert_array_equal(picture(rows[0][1]), maps[1].numpy())
    top = pytest.approx(max(2 * float(maps[1].max()), float(maps[3].max())))
    for panel in (*rows[0][1:], *rows[1][1:]):
        assert panel.images[0].get_clim() == (0, top)  # one scale for all
    assert figure.axes[6].get_ylabel().startswith("activation")  # the bar
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["dead"]
    dead = rows[1][2]
    assert np.ma.getmaskarray(dead.images[0].get_array()).all()  # nothing but the grey of the panel
    assert to_hex(dead.get_facecolor()) == EMPTY
    assert [axes.get_title() for axes in rows[0]] == ["image", "filter 1", "filter 3"]
    assert [row[1].get_ylabel() for row in rows] == ["plain", "+ area"]


def test_renderings_figure() -> None:
    shown = view(4)
    axes = renderings_figure(IMAGE, [shown], threshold=0.7).axes[:5]  # without the colour bar
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


def test_succinct_learning() -> None:
    before = CombinedMaps(np.array([[4, 4], [4, 1]]), np.array([[True, True], [True, False]]), 0.85)
    after = CombinedMaps(np.array([[2, 0], [0, 0]]), np.array([[True, False], [False, False]]), 1.0)
    more = CombinedMaps(np.array([[9, 0], [0, 0]]), np.array([[True, False], [False, False]]), 1.0)
    maps = {"relu3": before, "relu2": more}, {"relu3": after, "relu2": more}
    figure = succinct_learning([SuccinctImage(IMAGE, "ship", *maps)])
    image, left, right, *others = figure.axes
    assert [axes.images[0].get_clim() for axes in others[:2]] == [(0, 9), (0, 9)]  # each layer has its scale
    assert [axes.get_xlabel() for axes in others[2:]] == ["active filters, relu3", "active filters, relu2"]
    np.testing.assert_array_equal(picture(image), upscale(IMAGE))
    np.testing.assert_array_equal(picture(left), before.counts)
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 4)
    assert (left.get_xlabel(), right.get_xlabel()) == ("ratio 0.85", "ratio 1.00")
    outlines = [
        axes.collections[0].get_segments() for axes in (left, right) if isinstance(axes.collections[0], LineCollection)
    ]
    assert len(outlines[0]) == 8  # an L of three cells
    corners = {tuple(point) for segment in outlines[1] for point in segment.tolist()}
    assert corners == {(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)}


def test_refusals() -> None:
    with pytest.raises(UserError, match="rows is empty"):
        filter_comparison([])
    with pytest.raises(UserError, match="views is empty"):
        renderings_figure(IMAGE, [])


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_png(filter_comparison([BeforeAfter(IMAGE, view(0, text="Words."), view(1))]), tmp_path / name, dpi=60)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
