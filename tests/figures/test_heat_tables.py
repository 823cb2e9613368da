"""What the grids of numbers show, read back from the figure."""

import numpy as np
import pytest

from xcnn.errors import UserError
from xcnn.figures import heat_table


def test_heat_table() -> None:
    axes = heat_table([[0.0, -0.25], [1.0, np.nan]], [0, 0.1], ["a", "b"], form=".2f").axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "0.00",
        (1, 0): "−0.25",
        (0, 1): "1.00",
        (1, 1): "–",
    }
    colours = [text.get_color() for text in axes.texts]
    assert colours == ["white", "white", "black", "black"]  # dark cells, bright cell, no cell
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.1"]


def test_refusals() -> None:
    with pytest.raises(UserError, match="2 rows and 1 columns"):
        heat_table([[1.0, 2.0]], [0, 1], [0])
