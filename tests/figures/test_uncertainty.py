"""What the figure of uncertainty shows, read back from it."""

import numpy as np
import pytest

from xcnn.errors import UserError
from xcnn.figures import uncertainty_figure


def test_points_means_and_sizes() -> None:
    figure = uncertainty_figure(
        {"raw": ([np.nan, 0.4, 0.9], [np.nan, 0.5, 0.8])},
        {"LAC": [0.8, 1.0], "APS": [0.9, 0.7]},
        {"LAC": 1.5, "APS": 2.0},
        0.9,
        (0.85, 0.95),
    )
    left, middle, right = figure.axes
    diagonal, raw = left.get_lines()
    assert np.asarray(raw.get_xydata()).tolist() == [[0.4, 0.5], [0.9, 0.8]] and diagonal.get_label() != "raw"
    means = [line for line in middle.get_lines() if line.get_marker() == "D"]
    assert [float(np.ravel(line.get_xdata())[0]) for line in means] == pytest.approx([0.9, 0.8])
    points = [line for line in middle.get_lines() if line.get_marker() == "o"]
    assert [np.ravel(line.get_xdata()).tolist() for line in points] == [[0.8, 1.0], [0.9, 0.7]]
    assert [patch.get_width() for patch in right.patches] == [1.5, 2.0]  # type: ignore[attr-defined]
    assert [label.get_text() for label in middle.get_yticklabels()] == ["LAC", "APS"]


def test_refused() -> None:
    with pytest.raises(UserError, match="reliabilities is empty"):
        uncertainty_figure({}, {"LAC": [1.0]}, {"LAC": 1.0}, 0.9, (0.8, 1.0))
    with pytest.raises(UserError, match="sizes of APS and coverages of LAC"):
        uncertainty_figure({"raw": ([0.5], [0.5])}, {"LAC": [1.0]}, {"APS": 1.0}, 0.9, (0.8, 1.0))
