"""What the figures of filters for and against a class show, read back from the figure."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection

from tests.figures.drawn import overlapping
from tests.figures.test_filter_grids import CLASSES, IMAGE, picture, view
from xcnn.errors import UserError
from xcnn.figures import encircled, save_png, signed_filters, upscale

WORDS = "Measured, no language model: filter 18 of relu3 is active on 92% of the map, " + "in one region or other " * 9


def test_signed_filters() -> None:
    probabilities = np.array([0.3, 0.05, 0.1, 0.2, 0.15, 0.14, 0.06])
    negative = [view(3, -0.2, "Second."), view(4, -0.1, "Third.")]
    figure = signed_filters(IMAGE, [view(1, text="First.")], negative, probabilities, CLASSES, "automobile", "A title")
    picture_axes, bars, *cells = figure.axes
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
    # Each filter has its own words, at its right.
    beside = [cells[cells.index(cell) + 1] for cell in drawn]
    assert [cell.texts[0].get_text() for cell in beside] == ["First.", "Second.", "Third."]


def test_the_outline_is_the_mask_of_the_words() -> None:
    shown = view(1)
    figure = signed_filters(IMAGE, [shown], [], np.full(7, 1 / 7), CLASSES, "bird", threshold=0.7)
    (axes,) = [cell for cell in figure.axes[2:] if cell.images]
    mask = torch.as_tensor(shown.activation) > 0.7 * shown.activation.max()
    padded = torch.nn.functional.pad(mask.int(), (1, 1, 1, 1))
    borders = int(padded.diff(dim=0).abs().sum() + padded.diff(dim=1).abs().sum())
    lines = [part for part in axes.collections if isinstance(part, LineCollection)]
    assert [len(part.get_segments()) for part in lines] == [borders, borders]  # the line and its casing


def test_long_words_fit() -> None:
    filters = [view(index, 0.1, WORDS) for index in range(4)]
    figure = signed_filters(IMAGE, filters, filters[:3], np.full(7, 1 / 7), CLASSES, "bird", "Title", 0.1)
    assert overlapping(figure) == []
    assert figure.get_figwidth() == pytest.approx(180 / 25.4)
    for axes in figure.axes[2:]:
        for text in axes.texts:
            box = text.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= figure.bbox.x1 and box.y0 >= 0


def test_signed_filters_without_any() -> None:
    figure = signed_filters(IMAGE, [], [view(1, -0.1)], np.full(7, 1 / 7), CLASSES, "bird")
    heads = [panel.get_suptitle() for panel in figure.subfigs[1].subfigs]
    assert heads == ["No filters raise the probability of bird", "Filters that lower the probability of bird"]


def test_refusals() -> None:
    with pytest.raises(UserError, match="one probability per class"):
        signed_filters(IMAGE, [], [], np.ones(3), CLASSES, "bird")
    with pytest.raises(UserError, match="airplane, automobile"):
        signed_filters(IMAGE, [], [], np.ones(7), CLASSES, "zebra")
    with pytest.raises(UserError, match="relu3/2 has no words, but others do"):
        signed_filters(IMAGE, [view(1, text="Words.")], [view(2)], np.ones(7), CLASSES, "bird")


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        figure = signed_filters(
            IMAGE, [view(1, text="A.")], [view(2, -0.1, "B.")], np.full(7, 1 / 7), CLASSES, "bird", "Title"
        )
        save_png(figure, tmp_path / name, dpi=60)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
