"""What the drawings of a soft tree show, read back from them."""

import numpy as np
import pytest

from xcnn.errors import UserError
from xcnn.figures import Step, soft_path_figure, soft_tree_figure


def test_filters_stand_under_their_parents() -> None:
    filters = [np.full((4, 4), value) * np.eye(4) for value in (1.0, -1.0, 0.5)]
    figure = soft_tree_figure(filters, ["cat", "dog", "car", "–"])
    root, left, right = figure.axes
    x = [axes.get_position().x0 + axes.get_position().width / 2 for axes in (root, left, right)]
    assert x == pytest.approx([0.5, 0.25, 0.75])
    assert root.get_position().y0 > left.get_position().y1 > 0
    assert np.array_equal(np.asarray(left.get_images()[0].get_array()), filters[1])
    texts = {text.get_text(): text.get_position()[0] for text in figure.texts}
    assert texts == pytest.approx({"cat": 0.125, "dog": 0.375, "car": 0.625, "–": 0.875})


def test_a_path_names_its_turns() -> None:
    steps = [Step("node 0", np.eye(4), 0.9), Step("node 2", -np.eye(4), 0.2)]
    figure = soft_path_figure(np.zeros((1, 4, 4)), steps, [0.1, 0.7, 0.2], ("a", "b", "c"))
    captions = [axes.get_xlabel() for axes in figure.axes[1:3]]
    assert captions == ["node 0\nright, 0.90", "node 2\nleft, 0.80"]
    bars = figure.axes[-1]
    assert [bar.get_width() for bar in bars.patches] == [0.7, 0.2, 0.1]  # type: ignore[attr-defined]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["b", "c", "a"]


@pytest.mark.parametrize(("filters", "leaves"), [(2, 4), (3, 2), (0, 1)])
def test_numbers_that_make_no_tree(filters: int, leaves: int) -> None:
    with pytest.raises(UserError, match="make no tree"):
        soft_tree_figure([np.eye(4)] * filters, ["a"] * leaves)
