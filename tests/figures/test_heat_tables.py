"""What the grids of numbers show, read back from the figure."""

from itertools import chain

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import heat_tables
from xcnn.figures.style import INK


def test_one_panel() -> None:
    axes = heat_tables({"": [[-0.001, -0.25], [1.0, np.nan]]}, [0, 0.1], ["a", "b"], form=".2f").axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "0.00",
        (1, 0): "−0.25",
        (0, 1): "1.00",
        (1, 1): "–",
    }
    colours = [text.get_color() for text in axes.texts]
    assert colours == ["white", "white", INK, INK]  # dark cells, bright cell, no cell
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.1"]


def test_one_scale_for_all_panels() -> None:
    panels = {"literal": [[0.0, 0.2]], "floored": [[0.5, np.nan]]}
    for options, ends in (({}, (0, 0.5)), ({"vmin": -1.0, "vmax": 1.0}, (-1, 1))):
        figure = heat_tables(panels, [0.1], [0, 1], **options)  # type: ignore[arg-type]
        literal, floored, bar = figure.axes
        assert [axes.get_title() for axes in (literal, floored)] == ["literal", "floored"]
        assert literal.images[0].get_clim() == floored.images[0].get_clim() == ends
        assert bar.get_ylim() == ends
    empty = heat_tables({"none run": [[np.nan, np.nan]]}, [0.1], [0, 1])
    assert [text.get_text() for text in empty.axes[0].texts] == ["–", "–"]


def test_marked_cells() -> None:
    panels = {"before": [[0.85, 0.7], [0.1, 0.2]], "after": [[1.0, 0.9], [0.1, 0.3]]}
    chance = {"after": [[False, False], [True, True]]}
    agree = {"before": [[True, False], [False, False]]}
    figure = heat_tables(panels, [0.1, 0.2], [0, 1], hatched=chance, outlined=agree, outlined_label="as the paper")
    before, after = figure.axes[:2]
    hatched = [
        [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
        for axes in (before, after)
    ]
    assert hatched == [[], [(-0.5, 0.5), (0.5, 0.5)]]
    (line, _) = [part for part in before.collections if isinstance(part, LineCollection)]
    corners = {tuple(point) for point in chain(*(segment.tolist() for segment in line.get_segments()))}
    assert corners == {(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["accuracy at chance", "as the paper"]
    assert overlapping(figure) == []
    plain = heat_tables({"": [[1.0]]}, [0], [0], hatched={"": [[False]]})
    assert plain.legends == []


def test_refusals() -> None:
    with pytest.raises(UserError, match="2 rows and 1 columns"):
        heat_tables({"": [[1.0, 2.0]]}, [0, 1], [0])
    with pytest.raises(UserError, match="1 rows and 2 columns"):
        heat_tables({"a": [[1.0, 2.0]]}, [0], [0, 1], hatched={"a": [[True]]})
    with pytest.raises(UserError, match="b is marked but is no panel; there are: a"):
        heat_tables({"a": [[1.0]]}, [0], [0], outlined={"b": [[True]]})
    with pytest.raises(UserError, match="panels is empty"):
        heat_tables({}, [0], [0])
