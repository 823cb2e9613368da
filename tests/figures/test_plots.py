"""What the plots show, read back from the figure."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Annotation

from xcnn.errors import UserError
from xcnn.figures import AblationPoint, ablation_plot, heat_table, score_ramp
from xcnn.figures.plots import _spread


def test_score_ramp() -> None:
    curves = {f"relu3/{index}": np.array([0, 0.3, 0.1 * index]) for index in range(3)}
    axes = score_ramp(curves, "bird").axes[0]
    lines = axes.get_lines()[1:]  # after the zero line
    for line, curve in zip(lines, curves.values(), strict=True):
        np.testing.assert_allclose(np.asarray(line.get_xydata()), np.stack([[0, 0.5, 1], curve], 1))
    labels = [text.get_text() for text in axes.texts]
    assert labels == ["relu3/0  +0", "relu3/1  +0.1", "relu3/2  +0.2"]
    assert "bird" in axes.get_ylabel()


def test_equal_ends_get_labels_apart() -> None:
    axes = score_ramp({f"relu3/{index}": np.array([0, 1, 0.5]) for index in range(5)}).axes[0]
    heights = [text.xyann[1] for text in axes.texts if isinstance(text, Annotation)]
    assert np.diff(sorted(heights)).min() > 0.04
    assert np.mean(heights) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("heights", "spread"),
    [
        ([0, 5, 10], [0, 5, 10]),
        ([3, 3], [2.5, 3.5]),
        ([1.2, 0], [1.2, 0]),
        ([0, 0.5, 5], [-0.25, 0.75, 5]),
        ([1, 0.9, 0], [1.633, 0.633, -0.367]),  # the upper two move apart, meet the lowest, and all three settle
    ],
)
def test_spread(heights: list[float], spread: list[float]) -> None:
    assert _spread(heights, gap=1) == pytest.approx(spread, abs=1e-3)


def test_ablation_plot() -> None:
    points = [AblationPoint("plain", 0.85, 0.02, 0.70, 0.01), AblationPoint("both", 0.95, 0.01, 0.68, 0.02)]
    figure = ablation_plot(points, "succinctness")
    bars = [container for container in figure.axes[0].containers if isinstance(container, ErrorbarContainer)]
    for bar, point in zip(bars, points, strict=True):
        data, _, (horizontal, vertical) = bar.lines
        assert data is not None
        assert (data.get_xdata()[0], data.get_ydata()[0]) == (point.metric, point.accuracy)  # type: ignore[index]
        (left, _), (right, _) = horizontal.get_segments()[0]
        (_, low), (_, high) = vertical.get_segments()[0]
        assert (right - left, high - low) == pytest.approx((2 * point.metric_std, 2 * point.accuracy_std))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "both"]


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
    with pytest.raises(UserError, match="curves is empty"):
        score_ramp({})
    with pytest.raises(UserError, match="points is empty"):
        ablation_plot([], "area")
