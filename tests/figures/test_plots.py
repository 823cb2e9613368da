"""What the plots show, read back from the figure."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import (
    AblationPoint,
    AccuracySeries,
    Cost,
    Curve,
    ablation_plot,
    cost_plot,
    curves_plot,
    score_ramp,
    tradeoff_plot,
)
from xcnn.figures.plots import _spread
from xcnn.figures.style import PALETTE

METHODS = ("CAM", "Grad-CAM", "Ablation-CAM++", "Pixel Ablation-CAM, drop", "sum of activations", "random")


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


def test_curves_plot() -> None:
    rising = np.array([0.0, 0.6, 0.9])
    curves = {
        "insertion": {"a": Curve(rising, rising - 0.1, rising + 0.2), "b": Curve(rising / 2, rising / 4, rising)},
        "deletion": {"b": Curve(rising[::-1], rising[::-1], torch.tensor([1.0, 1.0, 1.0]))},
    }
    figure = curves_plot(curves)
    insertion, deletion = figure.axes
    np.testing.assert_allclose(np.asarray(insertion.get_lines()[0].get_xydata()), np.stack([[0, 0.5, 1], rising], 1))
    corners = {tuple(point) for point in insertion.collections[0].get_paths()[0].vertices}
    assert {(0.5, 0.5), (0.5, 0.8), (1.0, 0.8), (1.0, 1.1)} <= {(x, round(y, 6)) for x, y in corners}
    assert deletion.get_lines()[0].get_color() == insertion.get_lines()[1].get_color()
    assert [axes.get_title() for axes in figure.axes] == ["insertion", "deletion"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    part = curves_plot({"drop": {"a": Curve(rising, rising, rising, share=[0.05, 0.2, 0.5])}}).axes[0]
    np.testing.assert_allclose(np.asarray(part.get_lines()[0].get_xydata()), np.stack([[0.05, 0.2, 0.5], rising], 1))
    assert part.get_xlim() == (0, 0.5)
    five = (*METHODS[:4], "random")
    many = curves_plot({"insertion": {name: Curve(rising, rising, rising) for name in five}})
    lines = many.axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == len(lines)
    assert len({line.get_marker() for line in lines}) == len(lines)
    assert len({str(getattr(line, "_unscaled_dash_pattern")) for line in lines}) == len(lines)  # noqa: B009
    assert [text.get_text() for text in many.legends[0].get_texts()] == list(five)
    with pytest.raises(UserError, match="5 curves in a panel are not told apart"):
        curves_plot({"insertion": {name: Curve(rising, rising, rising) for name in METHODS}})


def test_cost_plot() -> None:
    costs = [
        Cost("Grad-CAM", "layer4", 1.05, 1.2),
        Cost("Grad-CAM", "grad-cam package", 2.5),
        Cost("Ablation-CAM", "layer4", 1.06, 1.5),
        Cost("Ablation-CAM", "grad-cam package", 2048.0, extrapolated=True),
    ]
    figure = cost_plot(costs)
    time, memory = figure.axes
    assert (time.get_xscale(), memory.get_xscale()) == ("log", "linear")
    marks = {mark_x(line): line for line in time.get_lines() if line.get_marker() not in ("None", None)}
    assert list(marks) == [1.05, 2.5, 1.06, 2048.0]
    heights = [np.ravel(line.get_ydata())[0] for line in marks.values()]
    assert heights == pytest.approx([-0.2, 0.2, 0.8, 1.2])
    assert time.get_ylim() == (1.5, -0.5)
    assert [to_hex(line.get_markerfacecolor()) == "#ffffff" for line in marks.values()] == [False, False, False, True]
    assert marks[1.05].get_color() == marks[1.06].get_color() != marks[2.5].get_color()
    assert [text.get_text() for text in time.texts] == ["1.05×", "2.5×", "1.06×", "2,048×"]
    assert [text.get_text() for text in memory.texts] == ["1.2×", "1.5×"]
    assert [label.get_text() for label in time.get_yticklabels()] == ["Grad-CAM", "Ablation-CAM"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["layer4", "grad-cam package", "hollow: extrapolated"]
    assert [text.get_text() for text in cost_plot(costs[:1]).legends[0].get_texts()] == ["layer4"]


def mark_x(line: Line2D) -> float:
    return float(np.ravel(line.get_xdata())[0])


def accuracies(method: str, x: Sequence[float] | Sequence[str], dataset: str = "MNIST") -> AccuracySeries:
    n = len(x)
    return AccuracySeries(dataset, method, x, np.linspace(0.8, 1, n), np.linspace(0.5, 0.7, n), [0.01] * n, [0.02] * n)


def test_many_settings_have_the_ticks_of_a_log_axis() -> None:
    x = [1.0, 7.0, 10.0, 20.0, 33.0, 90.0, 110.0, 400.0, 900.0, 1000.0]
    values = np.linspace(0.1, 0.9, len(x))
    one = AccuracySeries.tested("MNIST", "tree", x, values, np.zeros(len(x)))
    figure = tradeoff_plot([one], "leaves", log=True, parts=False)
    figure.canvas.draw()
    low, high = figure.axes[0].get_xlim()
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels() if low <= label.get_position()[0] <= high]
    assert len(shown) >= 2 and {*shown} <= {"1", "10", "100", "1000"}


@pytest.mark.parametrize(
    ("x", "log", "places"), [([0.01, 0.05, 1.0], True, [0.01, 0.05, 1.0]), (["1/D", "1/√D", "1"], False, [0, 1, 2])]
)
def test_tradeoff_plot(x: Sequence[float] | Sequence[str], log: bool, places: list[float]) -> None:
    series = [accuracies("B4", x), accuracies("B234", x), accuracies("B4", x[1:], "STL10")]  # type: ignore[arg-type]
    figure = tradeoff_plot(series, "share of the training images", log=log, title="Scalability")
    mnist, stl = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["MNIST", "STL10"]
    assert mnist.get_xscale() == ("log" if log else "linear")
    assert [label.get_text() for label in mnist.get_xticklabels()] == [
        value if isinstance(value, str) else f"{value:g}" for value in x
    ]
    bars = {bar.get_label(): bar for bar in mnist.containers if isinstance(bar, ErrorbarContainer)}
    assert list(bars) == ["B4, train", "B4, test", "B234, train", "B234, test"]
    for name, bar in bars.items():
        line, _, (spans,) = bar.lines
        assert line is not None
        start, style, std = (0.8, "--", 0.01) if str(name).endswith("train") else (0.5, "-", 0.02)
        np.testing.assert_allclose(
            np.asarray(line.get_xydata()), np.stack([places, np.linspace(start, start + 0.2, 3)], 1)
        )
        assert line.get_linestyle() == style
        assert line.get_color() == PALETTE[str(name).startswith("B234")]
        (_, low), (_, high) = spans.get_segments()[0]
        assert (low, high) == pytest.approx((start - std, start + std))
    np.testing.assert_allclose(np.asarray(stl.lines[0].get_xydata())[:, 0], places[1:])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["B4", "B234", "test", "train"]
    assert overlapping(figure) == []


def test_accuracies_share_a_range_and_have_references() -> None:
    series = [accuracies("B34", [1, 2], "MNIST"), accuracies("B34", [1, 2], "STL10")]
    figure = tradeoff_plot(series, "weight", references={"MNIST": {"B4": 0.3}})
    mnist, stl = figure.axes
    (level,) = [line for line in mnist.get_lines() if set(np.ravel(line.get_ydata())) == {0.3}]
    assert list(np.ravel(level.get_xdata())) == [0, 1]  # across the panel
    assert mnist.get_ylim() == stl.get_ylim()
    assert mnist.get_ylim()[0] < 0.3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["B34", "B4", "test", "train"]
    apart = tradeoff_plot(series, "weight", references={"MNIST": {"B4": 0.3}}, share_y=False)
    assert apart.axes[0].get_ylim() != apart.axes[1].get_ylim()
    with pytest.raises(UserError, match="CUB has a reference but no series"):
        tradeoff_plot(series, "weight", references={"CUB": {"B4": 0.3}})


def test_a_legend_names_what_is_drawn() -> None:
    nothing = [math.nan, math.nan]
    series = [AccuracySeries("MNIST", "B4", [1, 2], nothing, [0.5, 0.6], nothing, [0.0, 0.0])]
    figure = tradeoff_plot(series, "share")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["B4", "test"]
    bare = tradeoff_plot(series, "share", parts=False)
    assert [text.get_text() for text in bare.legends[0].get_texts()] == ["B4"]


def test_refusals() -> None:
    with pytest.raises(UserError, match="curves is empty"):
        score_ramp({})
    with pytest.raises(UserError, match="points is empty"):
        ablation_plot([], "area")
    one = accuracies("B4", [0.0, 1.0])
    with pytest.raises(UserError, match="series is empty"):
        tradeoff_plot([], "share")
    with pytest.raises(UserError, match="the same data set and method"):
        tradeoff_plot([one, one], "share")
    with pytest.raises(UserError, match=r"2 settings, train means \(1,\)"):
        tradeoff_plot([replace(one, train=[1.0])], "share")
    for x in ([0.0, 1.0], ["1/D", "1"]):
        with pytest.raises(UserError, match="cannot stand on a log axis"):
            tradeoff_plot([replace(one, x=x)], "share", log=True)
    with pytest.raises(UserError, match="curves is empty"):
        curves_plot({})
    with pytest.raises(UserError, match="costs is empty"):
        cost_plot([])


def test_no_text_over_another() -> None:
    curve = Curve([0.0, 1.0], [0.0, 1.0], [0.0, 1.0])
    costs = [
        Cost(name, where, 4.0**k, 1 + k) for k, name in enumerate(METHODS) for where in ("layer4", "layer2", "peer")
    ]
    for figure in (
        curves_plot({panel: dict.fromkeys(METHODS[2:], curve) for panel in ("insertion", "deletion")}, title="Curves"),
        cost_plot(costs, "Costs"),
        cost_plot([Cost("CAM", "layer4", 1.01, 1.02)]),
    ):
        assert overlapping(figure) == []
